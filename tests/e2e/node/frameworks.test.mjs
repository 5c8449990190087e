// SPDX-License-Identifier: Apache-2.0
// Frameworks that bring their own client: LangChain's and the AI SDK's. Run by tests/e2e/test_libraries.py.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai';
import { embed, generateText, streamText } from 'ai';
import { baseURL, collect, countGaps } from './engine.mjs';

const langchain = new ChatOpenAI({ model: 'small', apiKey: 'sk-client', maxRetries: 0, configuration: { baseURL } });
const provider = createOpenAICompatible({ name: 'vllmgw', baseURL, includeUsage: true });

test('LangChain invokes and streams the same text', async () => {
	const whole = await langchain.invoke('hello');
	const { text, times } = await collect(await langchain.stream('hello'), (chunk) => chunk.content);

	assert.ok(whole.content.length > 0);
	assert.equal(text, whole.content);
	assert.equal(whole.usage_metadata.output_tokens, 12);
	assert.ok(countGaps(times, 20) >= 6, `the tokens came in ${countGaps(times, 20) + 1} bursts`);
});

test('LangChain embeds', async () => {
	const embeddings = new OpenAIEmbeddings({ model: 'small', apiKey: 'sk-client', configuration: { baseURL } });

	assert.equal((await embeddings.embedQuery('hello')).length, 16);
});

test('LangChain is told of an unknown model', async () => {
	const lost = new ChatOpenAI({ model: 'nobody', apiKey: 'sk-client', maxRetries: 0, configuration: { baseURL } });

	await assert.rejects(lost.invoke('hello'), /nobody/);
});

test('the AI SDK generates and streams the same text', async () => {
	const whole = await generateText({ model: provider('small'), prompt: 'hello', maxRetries: 0 });
	const stream = streamText({ model: provider('small'), prompt: 'hello', maxRetries: 0 });
	const { text, times } = await collect(stream.textStream, (piece) => piece);

	assert.ok(whole.text.length > 0);
	assert.equal(text, whole.text);
	assert.equal((await stream.usage).outputTokens, 12);
	assert.ok(countGaps(times, 20) >= 6, `the tokens came in ${countGaps(times, 20) + 1} bursts`);
});

test('the AI SDK embeds', async () => {
	const { embedding } = await embed({ model: provider.textEmbeddingModel('small'), value: 'hello', maxRetries: 0 });

	assert.equal(embedding.length, 16);
});

test('the AI SDK is told of an unknown model', async () => {
	await assert.rejects(generateText({ model: provider('nobody'), prompt: 'hello', maxRetries: 0 }),
		(error) => error.statusCode === 404 && /nobody/.test(error.message));
});
