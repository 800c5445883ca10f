import { defineCodes } from '../code.ts';

export const rulesCodes = defineCodes({});
