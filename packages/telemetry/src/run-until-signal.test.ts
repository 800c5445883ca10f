import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';

/** A process whose `run` is `body`; resolves when it has logged `running`. */
async function service(body: string, deadlineMs = 10_000): Promise<{ child: ChildProcess; log: () => string }> {
  const telemetry = new URL('../dist/index.js', import.meta.url).href;
  const script = `const { createLogger, runUntilSignal, systemClock } = await import(${JSON.stringify(telemetry)});
    const clock = systemClock;
    const logger = createLogger({ service: 'test', level: 'info', clock });
    const keepAlive = setInterval(() => {}, 1000);
    const aborted = (signal) => new Promise((resolve) => signal.addEventListener('abort', resolve));
    await runUntilSignal(async (signal) => { logger.info('running'); ${body} }, { logger, clock, deadlineMs: ${deadlineMs} });`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  await new Promise<void>((resolve) => {
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      if (output.includes('"running"')) resolve();
    });
  });
  return { child, log: () => output };
}

async function exitCode(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null) return child.exitCode;
  const [code] = (await once(child, 'close')) as [number | null];
  return code;
}

describe('runUntilSignal', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('stops in order on %s', async (signal) => {
    const { child, log } = await service(`await aborted(signal); logger.info('cleaned up');`);
    child.kill(signal);
    expect(await exitCode(child)).toBe(0);
    expect(log()).toMatch(/stopping.*cleaned up.*stopped/s);
  });

  it('exits with 1 when the stop overruns its deadline', async () => {
    const { child, log } = await service('await new Promise(() => {});', 50);
    child.kill('SIGTERM');
    expect(await exitCode(child)).toBe(1);
    expect(log()).toContain('did not stop in time');
  });

  it('exits at once on the second signal', async () => {
    const { child } = await service(
      `await aborted(signal); process.kill(process.pid, 'SIGINT'); await new Promise(() => {});`,
    );
    child.kill('SIGINT');
    expect(await exitCode(child)).toBe(130);
  });

  it('exits with 1 when the run fails, and when an error was caught by nobody', async () => {
    const failed = await service(`throw new Error('no store');`);
    expect(await exitCode(failed.child)).toBe(1);
    expect(failed.log()).toContain('no store');
    const stray = await service(`void Promise.reject(new Error('stray')); await aborted(signal);`);
    expect(await exitCode(stray.child)).toBe(1);
    expect(stray.log()).toContain('uncaught error');
  });

  it('exits with 0 when the run ends by itself', async () => {
    const { child } = await service('');
    expect(await exitCode(child)).toBe(0);
  });
});
