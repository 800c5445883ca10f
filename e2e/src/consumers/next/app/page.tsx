import { Suspense } from 'react';
import { Replica } from './replica';
import { Count, State, Tasks } from './tasks';

/** Rendered ahead, when the app is built: the replica is in the browser alone. */
export default function Page() {
  return (
    <Replica>
      <h1>Tasks</h1>
      <Suspense fallback={<p>counting</p>}>
        <Count />
      </Suspense>
      <Tasks />
      <State />
    </Replica>
  );
}
