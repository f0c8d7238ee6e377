// Package awsproto speaks the protocol of AWS clients: it finds the operation
// by X-Amz-Target, checks the shape of the signature, decodes the request,
// calls the operation and encodes its answer or its error.
//
//	request ─ host, CORS, method ─ target ─ body ─ codec ─ signature ─ constraints ─ operation
//	answer  ◀─────────────────────────────── codec ◀───────────────────────────────────┘
//
// A [Codec] is an encoding, chosen by the content type. Operations work on the
// structs of package shape and know no encoding; codecs know no operation.
package awsproto
