// SPDX-License-Identifier: Apache-2.0
// The official client. Run by tests/e2e/test_libraries.py.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI, { toFile } from 'openai';
import { baseURL, collect, countGaps, messages, waitForRequest } from './engine.mjs';

const client = new OpenAI({ baseURL, apiKey: 'sk-client', maxRetries: 0 });
const chat = (more) => client.chat.completions.create({ model: 'small', messages, ...more });

test('lists the models and none that is unlisted', async () => {
	const ids = [];

	for await (const model of client.models.list())
		ids.push(model.id);
	assert.deepEqual(ids.sort(), ['big', 'org/with-slash', 'small']);
});

test('retrieves a model, by alias too, and one with a slash in its name', async () => {
	assert.equal((await client.models.retrieve('small')).object, 'model');
	assert.equal((await client.models.retrieve('tiny')).id, 'small');
	assert.equal((await client.models.retrieve('org/with-slash')).id, 'org/with-slash');
	await assert.rejects(client.models.retrieve('absent'), OpenAI.NotFoundError);
});

test('chats', async () => {
	const answer = await chat();

	assert.equal(answer.object, 'chat.completion');
	assert.ok(answer.choices[0].message.content.length > 0);
	assert.equal(answer.usage.completion_tokens, 12);
	assert.match(answer._request_id, /^req-/);
});

test('streams the same text, token by token', async () => {
	const whole = await chat();
	const { pieces, times, text } = await collect(await chat({ stream: true }), (c) => c.choices[0]?.delta?.content ?? '');

	assert.equal(text, whole.choices[0].message.content);
	assert.ok(pieces.length >= 12);
	assert.ok(countGaps(times, 20) >= 8, `the tokens came in ${countGaps(times, 20) + 1} bursts`);
});

test('has the first token before the engine has made the last one', async () => {
	const stream = await chat({ stream: true, max_tokens: 100 });

	for await (const chunk of stream) {
		if (chunk.choices[0]?.delta?.content)
			break;
	}
	await waitForRequest((r) => r.outcome === 'client_closed' && r.events < 100, 'the end of an unfinished stream');
});

test('gets usage as the last chunk when it asks for it, and none when it does not', async () => {
	const usages = async (more) => (await collect(await chat({ stream: true, ...more }), (c) => c.usage ?? null)).pieces;
	const asked = await usages({ stream_options: { include_usage: true } });

	assert.equal(asked.at(-1).completion_tokens, 12);
	assert.ok(asked.slice(0, -1).every((usage) => usage === null));
	assert.ok((await usages()).every((usage) => usage === null));
});

test('the stream helper puts the whole answer together', async () => {
	const runner = client.chat.completions.stream({ model: 'small', messages });
	let text = '';

	runner.on('content', (delta) => { text += delta; });
	const final = await runner.finalChatCompletion();

	assert.equal(final.choices[0].message.content, text);
	assert.equal(final.choices[0].finish_reason, 'stop');
});

test('an aborted stream is closed at the engine within 100 ms', async () => {
	const stream = await chat({ stream: true, max_tokens: 1000 });
	let seen = 0;

	await assert.doesNotReject(async () => {
		for await (const chunk of stream) {
			seen += chunk.choices.length;
			if (seen === 4)
				break; // the iterator's return() aborts the request
		}
	});
	const took = await waitForRequest((r) => r.outcome !== null, 'the abort');
	assert.ok(took < 100, `the engine saw it after ${took} ms`);
});

test('a request aborted before its first byte is closed at the engine within 100 ms', async () => {
	const controller = new AbortController();
	const pending = client.chat.completions.create({ model: 'small', messages, x_fault: 'stall-before-headers' },
		{ signal: controller.signal });
	const refused = assert.rejects(pending, OpenAI.APIUserAbortError);

	await waitForRequest((r) => r.outcome === null, 'the request');
	controller.abort();
	const took = await waitForRequest((r) => r.outcome !== null, 'the abort');
	await refused;
	assert.ok(took < 100, `the engine saw it after ${took} ms`);
});

test('an unknown model is a NotFoundError with its code', async () => {
	await assert.rejects(chat({ model: 'nobody' }), (error) => {
		assert.ok(error instanceof OpenAI.NotFoundError);
		assert.equal(error.code, 'model_not_found');
		assert.equal(error.type, 'invalid_request_error');
		assert.match(error.message, /nobody/);
		assert.match(error.requestID, /^req-/);
		return true;
	});
});

test('a body that is wrong is a BadRequestError', async () => {
	await assert.rejects(chat({ model: 7 }), (error) => error instanceof OpenAI.BadRequestError &&
		error.code === 'invalid_model');
	await assert.rejects(chat({ stream: 'yes' }), (error) => error instanceof OpenAI.BadRequestError &&
		error.code === 'invalid_stream');
});

test("the engine's 429 passes with its Retry-After", async () => {
	await assert.rejects(chat({ x_fault: 'status-429:3' }), (error) => {
		assert.ok(error instanceof OpenAI.RateLimitError);
		assert.equal(error.headers.get('retry-after'), '3');
		return true;
	});
});

test("the engine's 422 passes, an engine that dies is an InternalServerError", async () => {
	await assert.rejects(chat({ x_fault: 'status-422-json' }), OpenAI.UnprocessableEntityError);
	await assert.rejects(chat({ x_fault: 'reset-before-headers' }), (error) =>
		error instanceof OpenAI.InternalServerError && error.status === 502 && error.code === 'upstream_connection_lost');
});

test('a stream that breaks off raises instead of ending', async () => {
	const stream = await chat({ stream: true, x_fault: 'die-mid-stream:4' });

	await assert.rejects(collect(stream, (c) => c.choices[0]?.delta?.content ?? ''), (error) => {
		assert.equal(error.code, 'upstream_aborted');
		return true;
	});
});

test('embeds, as floats and as base64, with the same numbers', async () => {
	const input = ['one', 'two'];
	const floats = await client.embeddings.create({ model: 'small', input, encoding_format: 'float' });
	const packed = await client.embeddings.create({ model: 'small', input, encoding_format: 'base64' });
	const usual = await client.embeddings.create({ model: 'small', input });
	const bytes = Buffer.from(packed.data[0].embedding, 'base64');

	assert.equal(floats.data.length, 2);
	assert.equal(floats.data[0].embedding.length, 16);
	assert.deepEqual(usual.data[0].embedding.map(Math.fround), floats.data[0].embedding.map(Math.fround));
	assert.equal(bytes.readFloatLE(0), Math.fround(floats.data[0].embedding[0]));
});

test('completes, whole and streamed', async () => {
	const whole = await client.completions.create({ model: 'small', prompt: 'hello' });
	const stream = await client.completions.create({ model: 'small', prompt: 'hello', stream: true });
	const { text } = await collect(stream, (c) => c.choices[0]?.text ?? '');

	assert.equal(whole.object, 'text_completion');
	assert.equal(text, whole.choices[0].text);
});

test('uses the responses API, whole and streamed', async () => {
	const whole = await client.responses.create({ model: 'small', input: 'hello' });
	const stream = await client.responses.create({ model: 'small', input: 'hello', stream: true });
	const { text } = await collect(stream, (e) => (e.type === 'response.output_text.delta' ? e.delta : ''));

	assert.ok(whole.output_text.length > 0);
	assert.equal(text, whole.output_text);
});

test('a served name and aliases reach the right engine', async () => {
	const answers = await Promise.all(['tiny', 'gpt-4o-2024', 'big'].map((model) => chat({ model })));

	assert.deepEqual(answers.map((answer) => answer.model), ['small', 'small', 'org/served']);
});

test('a hundred requests at a time get each its own answer', async () => {
	const prompts = Array.from({ length: 100 }, (_, i) => [{ role: 'user', content: `question ${i}` }]);
	const texts = async () => Promise.all(prompts.map(async (one) =>
		(await chat({ messages: one })).choices[0].message.content));
	const first = await texts();

	assert.deepEqual(await texts(), first);
	assert.ok(new Set(first).size > 90, 'answers of different questions are mixed up');
});

test('transcribes: JSON, text and a stream, from a file of any bytes', async () => {
	const bytes = Buffer.from(Array.from({ length: 70000 }, (_, i) => (i * 31 + (i >> 8)) & 255));
	const transcribe = async (more) => client.audio.transcriptions.create(
		{ model: 'tiny', file: await toFile(bytes, '../a "b".wav', { type: 'audio/wav' }), ...more });

	const json = await transcribe({ language: 'de' });
	assert.equal(json.text, 'received');
	assert.equal(json.model, 'small', 'the engine hears its own name of the model');
	assert.ok(json.bytes > bytes.length);
	assert.match(await transcribe({ response_format: 'text' }), /^received [0-9a-f]{64}\n$/);
	const { text } = await collect(await transcribe({ stream: true }), (chunk) => chunk.choices[0].delta.content);
	assert.match(text, /^received [0-9a-f]{64}$/);
	assert.equal((await client.audio.translations.create(
		{ model: 'small', file: await toFile(bytes, 'a.wav') })).text, 'received');
	await assert.rejects(transcribe({ model: 'absent' }), OpenAI.NotFoundError);
});
