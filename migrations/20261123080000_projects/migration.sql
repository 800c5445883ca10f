-- Projects, their sources, rules, client authentication and provisioning jobs.
-- Generated from schema.prisma; everything from "Constraints" on is written by hand.

-- CreateEnum
CREATE TYPE "project_state" AS ENUM ('active', 'deleting', 'deleted');

-- CreateEnum
CREATE TYPE "tls_mode" AS ENUM ('disable', 'require', 'verify-ca', 'verify-full');

-- CreateEnum
CREATE TYPE "source_state" AS ENUM ('unchecked', 'ready', 'live', 'failed');

-- CreateEnum
CREATE TYPE "rules_state" AS ENUM ('draft', 'validated', 'deploying', 'active', 'superseded', 'failed');

-- CreateEnum
CREATE TYPE "client_auth_kind" AS ENUM ('jwks-url', 'jwks', 'shared-secret');

-- CreateEnum
CREATE TYPE "job_kind" AS ENUM ('deploy', 'release');

-- CreateEnum
CREATE TYPE "job_state" AS ENUM ('queued', 'running', 'succeeded', 'failed');

-- CreateEnum
CREATE TYPE "step_state" AS ENUM ('pending', 'running', 'succeeded', 'failed');

-- CreateTable
CREATE TABLE "project" (
    "id" INTEGER NOT NULL GENERATED ALWAYS AS IDENTITY,
    "ref" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "state" "project_state" NOT NULL DEFAULT 'active',
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "deleted_at" TIMESTAMPTZ(3),

    CONSTRAINT "project_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "source" (
    "project_id" INTEGER NOT NULL,
    "host" TEXT NOT NULL,
    "port" INTEGER NOT NULL,
    "database" TEXT NOT NULL,
    "username" TEXT NOT NULL,
    "password" BYTEA NOT NULL,
    "tls_mode" "tls_mode" NOT NULL,
    "tls_ca" TEXT,
    "slot_name" TEXT NOT NULL,
    "publication_name" TEXT NOT NULL,
    "server_version" INTEGER,
    "state" "source_state" NOT NULL DEFAULT 'unchecked',
    "error_code" TEXT,
    "error_details" JSONB,
    "revision" INTEGER NOT NULL DEFAULT 1,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "source_pkey" PRIMARY KEY ("project_id")
);

-- CreateTable
CREATE TABLE "rules_version" (
    "project_id" INTEGER NOT NULL,
    "version" INTEGER NOT NULL,
    "yaml" TEXT NOT NULL,
    "plan" JSONB,
    "state" "rules_state" NOT NULL,
    "diagnostics" JSONB NOT NULL DEFAULT '[]',
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "activated_at" TIMESTAMPTZ(3),

    CONSTRAINT "rules_version_pkey" PRIMARY KEY ("project_id","version")
);

-- CreateTable
CREATE TABLE "client_auth" (
    "project_id" INTEGER NOT NULL,
    "kind" "client_auth_kind" NOT NULL,
    "jwks_url" TEXT,
    "jwks" JSONB,
    "shared_secret" BYTEA,
    "issuer" TEXT,
    "audience" TEXT[],
    "algorithms" TEXT[],
    "max_token_age_s" INTEGER NOT NULL,
    "revision" INTEGER NOT NULL DEFAULT 1,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "client_auth_pkey" PRIMARY KEY ("project_id")
);

-- CreateTable
CREATE TABLE "provisioning_job" (
    "project_id" INTEGER NOT NULL,
    "job_no" INTEGER NOT NULL,
    "kind" "job_kind" NOT NULL,
    "rules_version" INTEGER,
    "state" "job_state" NOT NULL DEFAULT 'queued',
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "error_code" TEXT,
    "error_details" JSONB,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "started_at" TIMESTAMPTZ(3),
    "finished_at" TIMESTAMPTZ(3),

    CONSTRAINT "provisioning_job_pkey" PRIMARY KEY ("project_id","job_no")
);

-- CreateTable
CREATE TABLE "provisioning_step" (
    "project_id" INTEGER NOT NULL,
    "job_no" INTEGER NOT NULL,
    "ordinal" INTEGER NOT NULL,
    "name" TEXT NOT NULL,
    "state" "step_state" NOT NULL DEFAULT 'pending',
    "done" BIGINT NOT NULL DEFAULT 0,
    "estimate" BIGINT,
    "checks" JSONB,
    "error_code" TEXT,
    "error_details" JSONB,
    "started_at" TIMESTAMPTZ(3),
    "finished_at" TIMESTAMPTZ(3),

    CONSTRAINT "provisioning_step_pkey" PRIMARY KEY ("project_id","job_no","ordinal")
);

-- CreateIndex
CREATE UNIQUE INDEX "project_ref_key" ON "project"("ref");

-- AddForeignKey
ALTER TABLE "source" ADD CONSTRAINT "source_project_id_fkey" FOREIGN KEY ("project_id") REFERENCES "project"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "rules_version" ADD CONSTRAINT "rules_version_project_id_fkey" FOREIGN KEY ("project_id") REFERENCES "project"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "client_auth" ADD CONSTRAINT "client_auth_project_id_fkey" FOREIGN KEY ("project_id") REFERENCES "project"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "provisioning_job" ADD CONSTRAINT "provisioning_job_project_id_fkey" FOREIGN KEY ("project_id") REFERENCES "project"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "provisioning_job" ADD CONSTRAINT "provisioning_job_project_id_rules_version_fkey" FOREIGN KEY ("project_id", "rules_version") REFERENCES "rules_version"("project_id", "version") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "provisioning_step" ADD CONSTRAINT "provisioning_step_project_id_job_no_fkey" FOREIGN KEY ("project_id", "job_no") REFERENCES "provisioning_job"("project_id", "job_no") ON DELETE RESTRICT ON UPDATE CASCADE;

-- Constraints that the schema language cannot say. Repositories rely on them; they are not only a second wall.
ALTER TABLE "project"
  ADD CONSTRAINT "project_ref_shape" CHECK ("ref" ~ '^p[a-z0-9]{19}$'),
  ADD CONSTRAINT "project_name_length" CHECK (char_length("name") BETWEEN 1 AND 100),
  ADD CONSTRAINT "project_deleted_at" CHECK (("state" = 'deleted') = ("deleted_at" IS NOT NULL));

ALTER TABLE "source"
  ADD CONSTRAINT "source_port_range" CHECK ("port" BETWEEN 1 AND 65535),
  ADD CONSTRAINT "source_identifier_length" CHECK (octet_length("slot_name") <= 63 AND octet_length("publication_name") <= 63);

ALTER TABLE "rules_version"
  ADD CONSTRAINT "rules_version_plan" CHECK ("state" = 'draft' OR "plan" IS NOT NULL),
  ADD CONSTRAINT "rules_version_one_active" EXCLUDE ("project_id" WITH =) WHERE ("state" = 'active'),
  ADD CONSTRAINT "rules_version_one_deploying" EXCLUDE ("project_id" WITH =) WHERE ("state" = 'deploying');

ALTER TABLE "client_auth"
  ADD CONSTRAINT "client_auth_one_key" CHECK (
    ("jwks_url" IS NOT NULL) = ("kind" = 'jwks-url')
    AND ("jwks" IS NOT NULL) = ("kind" = 'jwks')
    AND ("shared_secret" IS NOT NULL) = ("kind" = 'shared-secret')
  ),
  ADD CONSTRAINT "client_auth_max_token_age" CHECK ("max_token_age_s" > 0);

ALTER TABLE "provisioning_job"
  ADD CONSTRAINT "provisioning_job_one_unfinished" EXCLUDE ("project_id" WITH =) WHERE ("state" IN ('queued', 'running'));

-- Whoever changes what other processes read about a project also tells them, in the same transaction. The payload
-- names the project; listeners read the rest, so a lost or repeated notification costs a read and nothing else.
CREATE FUNCTION "notify_project_changed"() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  changed integer := CASE TG_TABLE_NAME
    WHEN 'project' THEN (to_jsonb(coalesce(NEW, OLD)) ->> 'id')::integer
    ELSE (to_jsonb(coalesce(NEW, OLD)) ->> 'project_id')::integer
  END;
BEGIN
  PERFORM pg_notify('sluice_project_changed', changed::text);
  RETURN NULL;
END
$$;

CREATE TRIGGER "project_changed" AFTER INSERT OR UPDATE OR DELETE ON "project"
  FOR EACH ROW EXECUTE FUNCTION "notify_project_changed"();
CREATE TRIGGER "source_changed" AFTER INSERT OR UPDATE OR DELETE ON "source"
  FOR EACH ROW EXECUTE FUNCTION "notify_project_changed"();
CREATE TRIGGER "client_auth_changed" AFTER INSERT OR UPDATE OR DELETE ON "client_auth"
  FOR EACH ROW EXECUTE FUNCTION "notify_project_changed"();
CREATE TRIGGER "rules_version_changed" AFTER UPDATE OF "state" ON "rules_version"
  FOR EACH ROW WHEN (OLD."state" IS DISTINCT FROM NEW."state") EXECUTE FUNCTION "notify_project_changed"();
