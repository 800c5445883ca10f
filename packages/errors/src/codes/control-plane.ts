import { defineCodes } from '../code.ts';

export const controlPlaneCodes = defineCodes({});
