package journal

// HeaderSize is the size of the header of a frame on disk.
const HeaderSize = headerSize

// Start returns the position of the frame that b begins with.
func Start(b []byte) LSN {
	h, _ := parseHeader(b)
	return h.start
}

// Durable returns up to which position the frame that b begins with says that
// the journal is on disk.
func Durable(b []byte) LSN {
	h, _ := parseHeader(b)
	return h.durable
}
