-- The replicator names slot and publication, one pair for each epoch, and reports them.
ALTER TABLE "source" ALTER COLUMN "slot_name" DROP NOT NULL,
ALTER COLUMN "publication_name" DROP NOT NULL;
UPDATE "source" SET "slot_name" = NULL, "publication_name" = NULL;
