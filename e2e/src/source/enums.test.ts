import { freshDatabase } from '@sluice/testkit';
import { describe, expect, it } from 'vitest';
import { ReplicatedSource } from '../replication/replicated-source.ts';

const rules = 'version: 1\nstreams:\n  notes:\n    query: SELECT * FROM notes\n';
const schema = `create type mood as enum ('good', 'bad'); create domain mood_now as mood;
  create table notes (id int primary key, mood mood, moods mood[], now mood_now, twice int generated always as (id * 2) stored);
  alter table notes replica identity full;
  insert into notes values (1, 'good', '{good,bad}', 'bad')`;
const all = 'select id, mood::text, moods::text, now::text from notes';

describe('an enum', () => {
  it('takes new labels while it is streamed, and copies nothing', async () => {
    await using database = await freshDatabase('enum_added');
    await using source = new ReplicatedSource(database.url);
    await source.sql(schema);
    source.start();
    await source.deploy(rules);
    const { stream } = await source.visibleStream('notes');
    await source.sql(`alter type mood add value 'so so' before 'bad'`);
    await source.sql(`insert into notes values (2, 'so so', '{so so}', 'so so')`);
    await source.shows('notes', all);
    await source.restart();
    await source.sql(`update notes set mood = 'so so'`);
    await source.shows('notes', all);
    expect((await source.visibleStream('notes')).stream).toBe(stream);
  });

  it.each(['good', 'bad'])('L11: the label %s by another name is shown in rows that nobody wrote', async (label) => {
    await using database = await freshDatabase('enum_renamed');
    await using source = new ReplicatedSource(database.url);
    await source.sql(schema);
    source.start();
    await source.deploy(rules);
    const { stream } = await source.visibleStream('notes');
    await source.sql(`alter type mood rename value '${label}' to 'renamed'`);
    await source.shows('notes', all);
    expect((await source.visibleStream('notes')).stream).not.toBe(stream);
    expect((await source.source()).serving?.epoch).toBe(1);
  });
});
