// SPDX-License-Identifier: Apache-2.0
// The engine's control socket, and what the tests of all clients share. Addresses come from the environment.
import http from 'node:http';

export const gatewayUrl = process.env.GATEWAY_URL;
export const baseURL = `${gatewayUrl}/v1`;
export const messages = [{ role: 'user', content: 'hello' }];

function ask(path) {
	return new Promise((resolve, reject) => {
		const request = http.get({ socketPath: process.env.ENGINE_CONTROL, path }, (response) => {
			let text = '';

			response.setEncoding('utf8');
			response.on('data', (piece) => { text += piece; });
			response.on('end', () => resolve(JSON.parse(text)));
		});

		request.on('error', reject);
	});
}

/** The engine's record of its newest inference request. */
export async function lastRequest() {
	const { requests } = await ask('/_engine/requests');

	return requests.at(-1);
}

/** Asks until the condition holds for the engine's newest request; how long that took, in milliseconds. */
export async function waitForRequest(condition, what) {
	const began = performance.now();

	while (performance.now() - began < 10000) {
		const request = await lastRequest();

		if (request && condition(request))
			return performance.now() - began;
	}
	throw new Error(`within 10 s the engine did not see ${what}`);
}

/** Drains a stream and notes when each piece came. */
export async function collect(stream, textOf) {
	const times = [];
	const pieces = [];

	for await (const piece of stream) {
		times.push(performance.now());
		pieces.push(textOf(piece));
	}
	return { times, pieces, text: pieces.join('') };
}

/** Of the gaps between pieces, how many are at least half of `itl` long: pieces that came together have none. */
export function countGaps(times, itl) {
	return times.filter((time, i) => i > 0 && time - times[i - 1] >= itl / 2).length;
}
