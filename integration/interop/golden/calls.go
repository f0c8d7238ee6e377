package golden

import "embed"

// KCL holds the captures of the KCLs, in testdata/calls.
//
//go:embed testdata/calls/kcl*.ndjson.gz
var KCL embed.FS
