// Package registry speaks to image registries (the OCI distribution
// specification v1.1 and the Docker registry API v2 it grew from): it turns a
// reference into a verified manifest, configuration and layer list, streams
// blobs, and pushes images. It stores nothing: what is fetched goes to the
// caller, who keeps it.
//
// Nothing is believed before its digest was computed. Every failure is an
// *Error whose Kind says what went wrong and whose Hint says what to do.
//
// The package prints nothing, asks nothing and reads no environment variable
// of its own; crypto/x509 honours SSL_CERT_FILE and SSL_CERT_DIR by itself.
//
//	c, err := registry.New(registry.Options{Proxy: http.ProxyFromEnvironment})
//	img, err := c.Resolve(ctx, ref, registry.Want{Platform: image.Host()})
//	err = c.Fetch(ctx, ref, img.Layers, func(ctx context.Context, d registry.Descriptor, r io.Reader) error {
//		return keep(d.Digest, r) // r fails at its end if the bytes are not those of d
//	})
package registry
