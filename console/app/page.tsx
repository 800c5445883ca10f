import { listProjects } from '../data/projects/list-projects.ts';
import { ProjectList } from '../features/projects/project-list.tsx';
import { KeepFresh } from '../ui/keep-fresh.tsx';

/** Asked for anew with each request: a project's state is worth nothing when it is old. */
export const dynamic = 'force-dynamic';

export default async function ProjectsPage() {
  return (
    <>
      <h1 className="mb-6 font-semibold text-2xl tracking-tight">Projects</h1>
      <ProjectList listed={await listProjects()} />
      <KeepFresh />
    </>
  );
}
