export * from './is-global-unicast.ts';
