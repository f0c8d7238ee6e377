package faults

import "github.com/streamkit/streamkit/streamd/internal/awsproto"

// TableOperations are those that rules can name.
var TableOperations = tableOperations

// TableResponse is the answer of a [TableFunc].
type TableResponse = awsproto.TableResponse
