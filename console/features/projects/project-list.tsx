import type { Listed } from '../../data/projects/list-projects.ts';
import { Code, Notice } from '../../ui/notice.tsx';
import { ProjectCard } from './project-card.tsx';

export function ProjectList({ listed }: { readonly listed: Listed }) {
  switch (listed.kind) {
    case 'projects':
      if (listed.projects.length === 0) return <NoProjects />;
      return (
        <>
          <ul className="space-y-3">
            {listed.projects.map((project) => (
              <li key={project.ref}>
                <ProjectCard project={project} />
              </li>
            ))}
          </ul>
          {listed.hasMore && <p className="mt-4 text-sm opacity-70">The first {listed.projects.length} are shown.</p>}
        </>
      );
    case 'not-configured':
      return (
        <Notice title="The console has no API token" tone="bad">
          Start it with <Code>CONTROL_PLANE_TOKEN</Code> set to the token of the control plane.
        </Notice>
      );
    case 'not-allowed':
      return (
        <Notice title="The control plane refused the console’s token" tone="bad">
          Give both the same <Code>CONTROL_PLANE_TOKEN</Code> and start the console again.
        </Notice>
      );
    case 'unreachable':
      return (
        <Notice title="The control plane does not answer" tone="bad">
          Check that it runs and that <Code>CONTROL_PLANE_URL</Code> leads to it. This page tries again by itself.
        </Notice>
      );
    case 'failed':
      return (
        <Notice title={listed.message} tone="bad">
          <p>{listed.remedy}</p>
          <p className="mt-2">
            Request <Code>{listed.requestId}</Code>
          </p>
        </Notice>
      );
  }
}

function NoProjects() {
  return (
    <Notice title="No projects yet" tone="calm">
      A project joins one Postgres to the apps that sync from it. Create the first with <Code>POST /v1/projects</Code>.
    </Notice>
  );
}
