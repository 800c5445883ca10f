import { describe, expect, it } from 'vitest';
import { parsePostmasterFile } from './postmaster-file.ts';

const ready = '4711\n/data\n1700000000\n54321\n\n127.0.0.1\n  1234  5678\nready   \n';

describe('parsePostmasterFile', () => {
  it('reads process, port and readiness of a running server', () => {
    expect(parsePostmasterFile(ready)).toEqual({ pid: 4711, port: 54321, isReady: true });
  });

  it('does not take a server that still starts for a ready one', () => {
    expect(parsePostmasterFile(ready.replace('ready', 'starting'))?.isReady).toBe(false);
  });

  it('takes a file at any stage of being written without a wrong readiness', () => {
    for (let length = 0; length < ready.indexOf('ready') + 'read'.length; length += 1) {
      expect(parsePostmasterFile(ready.slice(0, length))?.isReady ?? false).toBe(false);
    }
  });

  it.each(['', '\n', 'x\n', '-5\n', '0\n', '1e9\n', '99999999999999\n'])('knows no process in %j', (text) => {
    expect(parsePostmasterFile(text)).toBeUndefined();
  });
});
