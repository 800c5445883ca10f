import { defineCodes } from '../code.ts';

export const sourceCodes = defineCodes({});
