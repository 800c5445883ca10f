/** A note at one of the user's airports, as the query below gives it. */
export interface Note {
  readonly id: string;
  readonly airport: string;
  readonly crew_id: string;
  readonly author: string | null;
  readonly body: string;
  /** Null until the source has given it its time. */
  readonly written_at: string | null;
}

/** The newest first; those that are still on their way before all others. */
export const NOTES_SQL = `
  select n.id, n.airport, n.crew_id, c.name as author, n.body, n.written_at
  from notes n left join crew c on c.id = n.crew_id
  order by n.written_at is not null, n.written_at desc, n.id
  limit 3`;

/** Draws the notes into `list`; those of the user can be taken back. */
export function drawNotes(
  list: HTMLUListElement,
  notes: readonly Note[],
  { user, onDelete }: { readonly user: string; readonly onDelete: (id: string) => void },
): void {
  list.replaceChildren(
    ...notes.map((note) => {
      const line = document.createElement('li');
      line.append(
        text('b', note.airport),
        text('span', note.body),
        text('small', `${note.author ?? note.crew_id}, ${note.written_at?.slice(11, 16) ?? 'on its way'}`),
      );
      if (note.crew_id === user) {
        const button = document.createElement('button');
        button.type = 'button';
        button.textContent = '×';
        button.title = 'Delete this note';
        button.setAttribute('aria-label', `Delete the note “${note.body}”`);
        button.onclick = () => onDelete(note.id);
        line.append(button);
      }
      return line;
    }),
  );
}

function text(tag: string, content: string): HTMLElement {
  const made = document.createElement(tag);
  made.textContent = content;
  return made;
}
