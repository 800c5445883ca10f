-- Resharding and comparing with the source are jobs like the others.
ALTER TYPE "job_kind" ADD VALUE 'reshard';
ALTER TYPE "job_kind" ADD VALUE 'audit';
ALTER TABLE "provisioning_job" ADD COLUMN "shards" INTEGER, ADD COLUMN "report" JSONB;
ALTER TABLE "provisioning_job"
  ADD CONSTRAINT "provisioning_job_shards" CHECK ("shards" BETWEEN 1 AND 64 AND ("kind"::text = 'reshard') = ("shards" IS NOT NULL));
