package registry

import (
	"net"
	"net/netip"
	"strings"

	"virga/image"
)

// Docker Hub's names: the one in references, the one that serves the API, and
// the key under which docker login stores its credentials.
const (
	hubHost    = image.DefaultHost
	hubAPIHost = "registry-1.docker.io"
	hubAuthKey = "https://index.docker.io/v1/"
)

// endpoint is one place where a repository can be found.
type endpoint struct {
	host     string // as in image.Reference: for credentials and messages
	repo     string
	insecure bool // registries.conf: no certificate check, HTTP if need be
	mirror   bool
}

// apiHost is the host that is connected to.
func (e endpoint) apiHost() string {
	if e.host == hubHost {
		return hubAPIHost
	}
	return e.host
}

// schemes are tried in order. Only a loopback registry falls back to HTTP by
// itself: what never leaves the machine cannot be listened to.
func (c *Client) schemes(e endpoint) []string {
	switch {
	case c.opts.PlainHTTP:
		return []string{"http"}
	case e.insecure || isLoopback(e.host):
		return []string{"https", "http"}
	}
	return []string{"https"}
}

// isLoopback reports whether host[:port] is 127.0.0.0/8, ::1 or localhost.
// Names under .localhost do not count: not every resolver keeps them here.
func isLoopback(hostport string) bool {
	host := strings.ToLower(hostname(hostport))
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().IsLoopback()
	}
	return host == "localhost"
}

// hostname cuts the port, and the brackets of an IPv6 address, off host[:port].
func hostname(hostport string) string {
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		return h
	}
	return strings.Trim(hostport, "[]")
}
