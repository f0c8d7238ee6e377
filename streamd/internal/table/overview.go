package table

import "github.com/streamkit/streamkit/streamd/internal/arn"

// Overview is what there is of a table.
type Overview struct {
	Scope arn.Scope
	Name  string
	Items int
	Bytes int64 // of items
}

// Overview returns what there is of each table, in order of scope and name.
func (s *Set) Overview() []Overview {
	var all []Overview
	s.tables.Scan(func(key string, d *data) bool {
		account, region := cutScope(key[:len(key)-len(d.name)-1])
		all = append(all, Overview{arn.Scope{Account: account, Region: region}, d.name, d.items.Len(), d.bytes})
		return true
	})
	return all
}
