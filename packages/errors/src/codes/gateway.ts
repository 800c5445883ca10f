import { defineCodes } from '../code.ts';

export const gatewayCodes = defineCodes({});
