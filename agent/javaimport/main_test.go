package main

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// database makes a checkpoint file as the Java agent does.
func database(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", uri(path, ""))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// Source: awslabs/amazon-kinesis-agent, SQLiteFileCheckpointStore.
const table = `create table FILE_CHECKPOINTS (flow text, path text, fileId text, lastModifiedTime bigint, size bigint, offset bigint,
	lastUpdated datetime, primary key (flow, path))`

func TestExport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "check points?#%")
	database(t, path, table,
		`insert into FILE_CHECKPOINTS values ('kinesis:s:/var/log/a*', '/var/log/a.1', '(dev=fd00,ino=7)', 1700000000000, 100, 100, '2026-01-01 00:00:00')`,
		`insert into FILE_CHECKPOINTS values ('kinesis:s:/var/log/a*', '/var/log/a"<b', '(dev=fd00,ino=18446744073709551615)', 1700000001000, 9000000000, 8999999999, '2026-01-01 00:00:01')`,
		`insert into FILE_CHECKPOINTS values ('fh:d:/x/*', '/x/y', null, null, null, null, null)`)
	var out strings.Builder
	if err := export(t.Context(), path, &out); err != nil {
		t.Fatal(err)
	}
	const want = `{"flow":"fh:d:/x/*","path":"/x/y","fileId":"","lastModifiedTime":0,"size":0,"offset":0}
{"flow":"kinesis:s:/var/log/a*","path":"/var/log/a\"<b","fileId":"(dev=fd00,ino=18446744073709551615)","lastModifiedTime":1700000001000,"size":9000000000,"offset":8999999999}
{"flow":"kinesis:s:/var/log/a*","path":"/var/log/a.1","fileId":"(dev=fd00,ino=7)","lastModifiedTime":1700000000000,"size":100,"offset":100}
`
	if out.String() != want {
		t.Errorf("output\n%s, want\n%s", out.String(), want)
	}
}

func TestExportErrors(t *testing.T) {
	dir := t.TempDir()
	text, other := filepath.Join(dir, "text"), filepath.Join(dir, "other")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	database(t, other, "create table x (y text)")
	for _, path := range []string{text, other, filepath.Join(dir, "none")} {
		err := export(t.Context(), path, new(strings.Builder))
		if err == nil || !strings.Contains(err.Error(), "name the checkpointFile of the Java agent's agent.json") {
			t.Errorf("%s: error %v", path, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); err == nil {
		t.Error("a database was made")
	}
}
