import type { CodeDefinition } from './code.ts';
import { clientCodes } from './codes/client.ts';
import { controlPlaneCodes } from './codes/control-plane.ts';
import { gatewayCodes } from './codes/gateway.ts';
import { queueCodes } from './codes/queue.ts';
import { rulesCodes } from './codes/rules.ts';
import { sourceCodes } from './codes/source.ts';
import { storeCodes } from './codes/store.ts';
import { writerCodes } from './codes/writer.ts';

/** Every stable code, by the room that raises it. `docs/errors.md` is generated from this. */
export const codesByRoom = {
  source: sourceCodes,
  rules: rulesCodes,
  store: storeCodes,
  queue: queueCodes,
  gateway: gatewayCodes,
  writer: writerCodes,
  client: clientCodes,
  'control-plane': controlPlaneCodes,
} as const;

export type Code = { [Room in keyof typeof codesByRoom]: keyof (typeof codesByRoom)[Room] }[keyof typeof codesByRoom];

const definitions = new Map<string, CodeDefinition>(
  Object.values(codesByRoom).flatMap((codes) => Object.entries(codes)),
);

export function definitionOf(code: Code): CodeDefinition {
  const definition = definitions.get(code);
  if (!definition) throw new Error(`unknown code ${code}`);
  return definition;
}
export function isCode(value: string): value is Code {
  return definitions.has(value);
}
