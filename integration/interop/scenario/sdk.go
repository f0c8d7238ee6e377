package scenario

import (
	"context"
	"time"
)

// sdkScenarios are programs that need nothing but a server.
var sdkScenarios = []Scenario{
	sdk("sdk2", "Sdk2", "every operation, synchronous and not, HTTP/1.1, HTTP/2 and h2c, CBOR; enhanced fan-out; tables"),
	sdk("sdk2-json", "Sdk2", "the same in JSON", "CBOR_ENABLED=false"),
	sdk("sdk2-short", "Sdk2", "the same with one synchronous client and one asynchronous", "KINDS=apache,netty http2"),
	sdk("sdk1", "Sdk1", "every operation, synchronous and not, CBOR; tables"),
	sdk("sdk1-json", "Sdk1", "the same in JSON", "AWS_CBOR_DISABLE=true"),
}

func sdk(name, class, what string, env ...string) Scenario {
	return Scenario{Name: name, What: what, run: func(ctx context.Context, p *play) error {
		if err := p.serve(ctx); err != nil {
			return err
		}
		program, err := p.java(ctx, name[:4], class, env...)
		if err != nil {
			return err
		}
		return program.wait(ctx, 180*time.Second)
	}}
}
