import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import { schemaComponents } from '../http/api-doc.ts';

/** The contract of the API: what packages/api-client is generated from. */
export function buildDocument(app: INestApplication): OpenAPIObject {
  const head = new DocumentBuilder()
    .setOpenAPIVersion('3.1.0')
    .setTitle('Sluice control plane')
    .setDescription('Projects, their sources, sync rules, client authentication and provisioning.')
    .setVersion('1')
    .addBearerAuth({ type: 'http', scheme: 'bearer', description: 'The operator API token.' })
    .build();
  const document = SwaggerModule.createDocument(app, head);
  return { ...document, components: { ...document.components, schemas: schemaComponents() } };
}
