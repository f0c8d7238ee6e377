package producer_test

import (
	"context"
	"io"

	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// keepStream returns a middleware that keeps the stream of a request.
func keepStream(to *io.Reader) middleware.FinalizeMiddleware {
	return middleware.FinalizeMiddlewareFunc("keepStream", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
		*to = in.Request.(*smithyhttp.Request).GetStream()
		return next.HandleFinalize(ctx, in)
	})
}
