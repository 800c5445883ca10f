import type { RejectedWriteInfo, WriteOperation } from '@sluice/client';

/** Shows what the source refused, until each is dismissed or tried again. */
export function drawRefusals(
  into: HTMLElement,
  rejected: readonly RejectedWriteInfo[],
  on: { readonly dismiss: (id: number) => void; readonly again: (refused: RejectedWriteInfo) => void },
): void {
  into.hidden = rejected.length === 0;
  into.replaceChildren(
    ...rejected.map((refused) => {
      const line = document.createElement('p');
      const { code, reason, operations } = refused;
      line.append(
        text('b', 'Not accepted: '),
        text('span', operations.map(told).join(', ')),
        text('small', `${code}: ${reason}`),
      );
      line.append(
        button('Try again', () => on.again(refused)),
        button('Dismiss', () => on.dismiss(refused.id)),
      );
      return line;
    }),
  );
}

function told(operation: WriteOperation): string {
  if ('insert' in operation) return `${operation.insert}: “${String(operation.values.body ?? '')}”`;
  if (!('update' in operation)) return 'a change';
  const { id, ...values } = operation.values;
  return `flight ${String(id)}: ${Object.entries(values)
    .map(([column, value]) => `${column} “${String(value ?? '')}”`)
    .join(', ')}`;
}
function text(tag: string, content: string): HTMLElement {
  const made = document.createElement(tag);
  made.textContent = content;
  return made;
}
function button(label: string, onClick: () => void): HTMLButtonElement {
  const made = document.createElement('button');
  made.type = 'button';
  made.textContent = label;
  made.onclick = onClick;
  return made;
}
