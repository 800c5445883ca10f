import { defineCodes } from '../code.ts';

export const clientCodes = defineCodes({});
