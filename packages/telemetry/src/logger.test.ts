import { describe, expect, it } from 'vitest';
import { createLogger, type Logger } from './logger.ts';
import { systemClock } from './system-clock.ts';

function capture(allow: readonly string[] = []): { logger: Logger; lines: () => Record<string, unknown>[] } {
  let output = '';
  const destination = {
    write(text: string) {
      output += text;
    },
  };
  const clock = { ...systemClock, nowMs: () => 0 };
  const logger = createLogger({ service: 'test', level: 'info', clock, allow, destination });
  return { logger, lines: () => output.split('\n').flatMap((line) => (line ? [JSON.parse(line)] : [])) };
}

describe('createLogger', () => {
  it('writes one JSON line with the message, the fields and the time of the clock it was given', () => {
    const { logger, lines } = capture();
    logger.info('slot created', { slot: 's1', lsn: 2n ** 63n, durationMs: 1.5 });
    expect(lines()).toEqual([
      {
        level: 'info',
        time: '1970-01-01T00:00:00.000Z',
        service: 'test',
        message: 'slot created',
        slot: 's1',
        lsn: '9223372036854775808',
        durationMs: 1.5,
      },
    ]);
  });

  it('prints no value under a name that was not allowed, nor an object under one that was', () => {
    const { logger, lines } = capture(['ours']);
    logger
      .child({ projectId: 'p', password: 'hunter2' })
      .warn('x', { token: 'hunter2', ours: 1, table: { a: 'hunter2' } });
    expect(JSON.stringify(lines())).not.toContain('hunter2');
    expect(lines()[0]).toMatchObject({
      projectId: 'p',
      password: '[not allowed]',
      ours: 1,
      table: '[not a plain value]',
    });
  });

  it('leaves out what is below its level', () => {
    const { logger, lines } = capture();
    logger.debug('batch');
    expect(lines()).toEqual([]);
  });

  it('describes an error and its causes without the extra properties that drivers add', () => {
    const { logger, lines } = capture();
    const cause = Object.assign(new Error('duplicate key value: hunter2'), {
      severity: 'ERROR',
      code: '23505',
      detail: 'Key (email)=(hunter2) already exists.',
    });
    logger.error('write failed', { error: new Error('apply', { cause }) });
    expect(JSON.stringify(lines())).not.toContain('hunter2');
    expect(lines()[0]).toMatchObject({
      error: {
        name: 'Error',
        message: 'apply',
        cause: { code: '23505', message: '[database error that quotes data]' },
      },
    });
  });

  it('keeps the message of a database error that says nothing of data, and where it was thrown', () => {
    const { logger, lines } = capture();
    const error = Object.assign(new Error('terminating connection'), { severity: 'FATAL', code: '57P01' });
    logger.error('lost', { error });
    expect(lines()[0]).toMatchObject({ error: { message: 'terminating connection', code: '57P01' } });
    expect(JSON.stringify(lines()[0])).toContain('logger.test.ts');
  });

  it('survives whatever is thrown', () => {
    const { logger, lines } = capture();
    for (const error of ['text', undefined, null, 7, {}]) logger.error('odd', { error });
    const loop = new Error('loop');
    loop.cause = loop;
    logger.error('odd', { error: loop });
    expect(lines()).toHaveLength(6);
  });
});
