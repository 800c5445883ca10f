import { seededRandom } from '@sluice/testkit';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { oneStream } from './marked-rules.fixture.ts';
import { parseAndCompile } from './parse-and-compile.ts';
import { anyCondition, itemRow, memberRows, randomCatalog, tokenClaims } from './random-conditions.fixture.ts';
import { Buckets } from './visible-rows.fixture.ts';

const { seed } = seededRandom();

test(`L13: buckets and claims give exactly the rows for which the condition is true (seed ${seed})`, async () => {
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(
      anyCondition,
      fc.array(itemRow, { minLength: 1, maxLength: 12 }),
      memberRows,
      fc.array(tokenClaims, { minLength: 1, maxLength: 6 }),
      async (condition, rows, members, tokens) => {
        const result = await parseAndCompile(oneStream(`SELECT * FROM items WHERE ${condition.rule}`), randomCatalog);
        if (result.kind === 'invalid') {
          // Only the bounds may refuse what the generator makes.
          expect(['RULES_NEVER_TRUE', 'RULES_TOO_MANY_BRANCHES']).toContain(result.diagnostics[0]?.code);
          return;
        }
        const [plan] = result.rules.streams;
        const buckets = plan && new Buckets(plan, rows, members);
        for (const claims of tokens) {
          const expected = rows.flatMap((row, id) =>
            condition.evaluate({ row, claims, members }) === true ? [id] : [],
          );
          expect(buckets?.visibleTo(claims)).toEqual(expected);
          compared += rows.length;
        }
      },
    ),
    { seed, numRuns: 600 },
  );
  expect(compared).toBeGreaterThan(5_000);
}, 60_000);
