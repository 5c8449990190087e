// SPDX-License-Identifier: Apache-2.0
// The official client, with a llama-server behind the gateway. Run by tests/integration/llama.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { baseURL, collect, messages } from './engine.mjs';

const client = new OpenAI({ baseURL, apiKey: process.env.API_KEY, maxRetries: 0 });
const models = process.env.MODELS.split(',');
const chat = (model, more) => client.chat.completions.create({ model, messages, max_tokens: 40, temperature: 0, ...more });
const textOf = (chunk) => chunk.choices[0]?.delta?.content ?? '';

test('streams the text it gets whole, from one model and the other in turn', async () => {
	const whole = new Map();

	for (const model of models)
		whole.set(model, (await chat(model)).choices[0].message.content);
	assert.equal(new Set(whole.values()).size, models.length, 'each model says something else');
	for (const model of [...models, ...models]) {
		const { text, pieces } = await collect(await chat(model, { stream: true }), textOf);

		assert.equal(text, whole.get(model));
		assert.ok(pieces.filter((piece) => piece).length >= 20, `${pieces.length} chunks`);
	}
});

test('the last chunk is the usage when it is asked for, and there is none when it is not', async () => {
	const usages = async (more) =>
		(await collect(await chat(models[0], { stream: true, ...more }), (chunk) => chunk.usage ?? null)).pieces;
	const asked = await usages({ stream_options: { include_usage: true } });

	assert.equal(asked.at(-1).completion_tokens, 40);
	assert.ok(asked.slice(0, -1).every((usage) => usage === null));
	assert.ok((await usages()).every((usage) => usage === null));
});

test('the stream helper puts the whole answer together', async () => {
	const final = await client.chat.completions.stream({ model: models[0], messages, max_tokens: 40 }).finalChatCompletion();

	assert.ok(final.choices[0].message.content.length > 0);
	assert.equal(final.choices[0].finish_reason, 'length');
});

test('an abandoned stream is let go, and the next request is answered', async () => {
	const stream = await chat(models[0], { stream: true, max_tokens: 8000 });

	for await (const chunk of stream) {
		if (textOf(chunk))
			break; // the iterator's return() aborts the request
	}
	assert.equal((await chat(models[0])).usage.completion_tokens, 40);
});

test('completes, and embeds or is told that the engine does not', async () => {
	const { text } = (await client.completions.create({ model: models[0], prompt: 'hello', max_tokens: 8 })).choices[0];

	assert.ok(text.length > 0);
	await assert.rejects(client.embeddings.create({ model: models[0], input: 'hello' }), (error) => error.status === 501 &&
		/embeddings/.test(error.message));
});
