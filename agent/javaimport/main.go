// Javaimport prints the positions of the Java Kinesis Agent for streamagent.
//
// The Java agent keeps them in a SQLite database. This program reads it and prints
// each row of its table as a line of JSON, which "streamagent checkpoints import"
// takes. It is a program and a module of its own, so that neither streamagent nor
// who imports package agent carries a database; its SQLite is a pure Go one and
// needs no C compiler. It changes nothing.
//
//	javaimport /var/run/aws-kinesis-agent/checkpoints | streamagent checkpoints import -
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

func main() {
	if len(os.Args) != 2 || os.Args[1] == "-h" || os.Args[1] == "--help" {
		_, _ = fmt.Fprintln(os.Stderr, "usage: javaimport FILE\n\n"+
			"Prints the rows of the checkpoint file of the Java Kinesis Agent, as in /var/run/aws-kinesis-agent/checkpoints,\n"+
			"for \"streamagent checkpoints import\". Stop the Java agent first.")
		os.Exit(1)
	}
	if err := export(context.Background(), os.Args[1], os.Stdout); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "javaimport:", err)
		os.Exit(1)
	}
}

// uri names a database whatever characters are in its path.
func uri(path, query string) string {
	u := url.URL{Scheme: "file", Opaque: url.PathEscape(path), RawQuery: query}
	return u.String()
}

// A row is a line of the output, and one of the table.
//
// Source: awslabs/amazon-kinesis-agent, SQLiteFileCheckpointStore.
type row struct {
	Flow         string `json:"flow"`
	Path         string `json:"path"`
	FileID       string `json:"fileId"`
	LastModified int64  `json:"lastModifiedTime"`
	Size         int64  `json:"size"`
	Offset       int64  `json:"offset"`
}

// export prints the rows of the database at path, of each flow the last updated
// first.
func export(ctx context.Context, path string, out io.Writer) (err error) {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("%w; name the checkpointFile of the Java agent's agent.json", err)
	}
	// Read only: a database that is merely named must not be made, or changed.
	db, err := sql.Open("sqlite", uri(path, "mode=ro&_pragma=query_only(1)"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, `SELECT flow, path, coalesce(fileId, ''), coalesce(lastModifiedTime, 0), coalesce(size, 0), coalesce(offset, 0)
		FROM FILE_CHECKPOINTS ORDER BY flow, lastUpdated DESC, path`)
	if err != nil {
		return fmt.Errorf("%s has no table of checkpoints that can be read: %w; name the checkpointFile of the Java agent's agent.json", path, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.Flow, &r.Path, &r.FileID, &r.LastModified, &r.Size, &r.Offset); err != nil {
			return fmt.Errorf("%s: a row that cannot be read: %w", path, err)
		}
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return rows.Err()
}
