// SPDX-License-Identifier: Apache-2.0
/* Checks what a chart makes, and what it is made from. Run beside the packages of package.json:
 *
 *   check.mjs objects OBJECTS.json                objects of Kubernetes: unknown fields, wrong types (by the compiler
 *                                                 of TypeScript: the objects become literals of their types)
 *   check.mjs values SCHEMA.json VALUES.json...   values against a schema
 *
 * Prints one line per mistake and exits with 1 if there is one. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'));
const packages = createRequire(join(process.cwd(), 'package.json'));

// Where the types of a group of the API are.
function getModule(apiVersion) {
	const family = apiVersion.startsWith('monitoring.coreos.com/') ? '@kubernetes-models/prometheus-operator' : 'kubernetes-models';

	return `${family}/${apiVersion}`;
}

function printLiteral(object, index) {
	return `import type { I${object.kind} as T${index} } from '${getModule(object.apiVersion)}';\n`
		+ `export const o${index}: T${index} = ${JSON.stringify(object, null, 1)};\n`;
}

// The compiler names a line of what was printed; people want the object.
function explain(line, objects, source) {
	const match = /^objects\.ts\((\d+),\d+\): (.*)/.exec(line);

	if (!match)
		return line;
	const before = source.split('\n').slice(0, Number(match[1])).join('\n');
	const object = objects[before.split('\nexport const ').length - 2];
	return `${object.kind} ${object.metadata?.name}: ${match[2]} [${source.split('\n')[match[1] - 1].trim()}]`;
}

function checkObjects([path]) {
	const objects = readJson(path);
	const source = objects.map(printLiteral).join('');

	writeFileSync('objects.ts', source);
	try {
		execFileSync(process.execPath, [packages.resolve('typescript/bin/tsc'), '--noEmit', '--strict', '--skipLibCheck',
			'--module', 'nodenext', '--moduleResolution', 'nodenext', '--target', 'es2022',
			'objects.ts'], { encoding: 'utf8' });
		return [];
	} catch (error) {
		if (!error.stdout)
			throw error;
		return error.stdout.trim().split('\n').map((line) => explain(line, objects, source));
	}
}

function checkValues([schema, ...paths]) {
	const Ajv = packages('ajv').default;
	const validate = new Ajv({ strict: true, allErrors: true, allowUnionTypes: true }).compile(readJson(schema));

	return paths.flatMap((path) => (validate(readJson(path)) ? [] : validate.errors.map(
		(error) => `${error.instancePath || '/'} ${error.message} ${JSON.stringify(error.params)}`)));
}

const [what, ...rest] = process.argv.slice(2);
const mistakes = { objects: checkObjects, values: checkValues }[what](rest);
for (const mistake of mistakes)
	console.log(mistake);
process.exitCode = mistakes.length > 0 ? 1 : 0;
