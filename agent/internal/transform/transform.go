// Package transform changes records on their way from file to stream: the
// dataProcessingOptions of the agent's configuration.
package transform

// Result says what became of a record.
type Result int

const (
	// Converted says that the output is the record.
	Converted Result = iota
	// Skipped says that the record is to be left out.
	Skipped
	// Failed says that the record could not be converted and is sent as it was.
	Failed
)

// Option converts one record. rec and the output end in a newline. It appends the
// output to dst and is safe for concurrent use.
type Option interface {
	Append(dst, rec []byte) ([]byte, Result)
}

// Chain is a list of options, each working on the output of the one before. A nil
// Chain leaves records as they are.
type Chain struct{ Options []Option }

// Append appends the record that the chain makes of rec to dst. If an option
// fails, rec itself is appended. The scratch that it returns may be given to the
// next call.
func (c *Chain) Append(dst, rec, scratch []byte) (out, newScratch []byte, res Result) {
	start := len(dst)
	in := rec
	for i, o := range c.Options {
		if i > 0 {
			scratch = append(scratch[:0], dst[start:]...)
			in = scratch
		}
		dst, res = o.Append(dst[:start], in)
		switch res {
		case Skipped:
			return dst[:start], scratch, Skipped
		case Failed:
			return append(dst[:start], rec...), scratch, Failed
		case Converted:
		}
	}
	return dst, scratch, Converted
}
