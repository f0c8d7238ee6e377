// Package sigv4 reads and verifies signatures of AWS, version 4, as requests
// carry them in the Authorization header or in the query of their URL.
//
// # What is signed
//
// A signature covers the method, the path, the query, the headers that its list
// names, the time and the hash of the body. [Parse] reads what a request says
// of its signer; [Verifier.Open] checks all that does not need the body, and
// [Verifier.Check] the signature itself.
//
// A request is refused unless its signature covers what the server acts on: the
// host, the time, X-Amz-Target, without which an operation could be made
// another one, and X-Amz-Content-Sha256 where it is sent. The content type may
// stay unsigned: a body in one of the encodings is none in another. So may the
// session token, which is compared with the one that the key has.
//
// The hash is always that of the body that has come. A request that says
// UNSIGNED-PAYLOAD is refused: the API does not have it, and whoever stands
// between client and server could change the body.
//
// # What is not hidden
//
// The errors tell an unknown key from a wrong signature, as AWS does, so which
// keys exist is no secret, and no effort is made to take the same time for
// both. Secrets, signatures and tokens are compared in constant time.
//
// A signed request may be sent again until its time is too long ago, as on AWS.
//
// Source of the rules: AWS General Reference, Create a signed AWS API request.
// Source of the wording of errors: answers of AWS that others have recorded.
package sigv4
