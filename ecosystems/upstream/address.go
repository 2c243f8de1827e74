package upstream

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// special are address ranges that can lead to private or own machines although
// netip's own predicates do not name them (IANA special-purpose registries). The
// IPv4 documentation ranges are not among them: nothing private has them by
// convention, and networks that intercept DNS answer with them for public hosts.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // carrier-grade NAT; also the metadata address of one cloud
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("2001::/32"), // Teredo, embeds an IPv4 address
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), // 6to4, embeds an IPv4 address
	netip.MustParsePrefix("fec0::/10"),
	netip.MustParsePrefix("::/96"), // IPv4-compatible
}

var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// public reports whether an address belongs to the public internet.
func public(a netip.Addr) bool {
	a = a.Unmap()
	if a.Zone() != "" {
		return false
	}
	if nat64.Contains(a) {
		b := a.As16()
		return public(netip.AddrFrom4([4]byte(b[12:])))
	}
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// checkAddress refuses a resolved "ip:port" that is not public.
func checkAddress(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("address %q cannot be read", address)
	}
	if !public(ap.Addr()) {
		return &addressError{ap.Addr()}
	}
	return nil
}

// addressError says that a name led to an address that headgate does not go to.
type addressError struct{ addr netip.Addr }

func (e *addressError) Error() string {
	return fmt.Sprintf("%s is not a public address; list the host as private in the configuration if it is your own registry", e.addr)
}

// parseURL reads an absolute URL and refuses every form that two readers could
// take for different hosts.
func parseURL(s string) (*url.URL, error) {
	if len(s) > MaxURL {
		return nil, fmt.Errorf("URL is longer than %d bytes", MaxURL)
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("URL cannot be parsed")
	}
	return u, checkURL(u)
}

func checkURL(u *url.URL) error {
	if u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("scheme %q is not https", u.Scheme)
	}
	if u.User != nil {
		return fmt.Errorf("URL holds a user name or password; use .netrc")
	}
	h := u.Hostname()
	if u.Opaque != "" || h == "" {
		return fmt.Errorf("URL names no host")
	}
	if strings.HasSuffix(h, ".") || strings.Trim(strings.ToLower(h), "abcdefghijklmnopqrstuvwxyz0123456789-._:") != "" {
		return fmt.Errorf("host name %q is not plain ASCII", h)
	}
	for seg := range strings.SplitSeq(u.Path, "/") {
		if seg == ".." || seg == "." {
			return fmt.Errorf("URL path holds dot segments")
		}
	}
	return nil
}

// hostPort is the host of u with its port, the scheme's default one included;
// it is what "the same host" means here.
func hostPort(u *url.URL) string {
	p := u.Port()
	if p == "" {
		p = "443"
		if u.Scheme == "http" {
			p = "80"
		}
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), p)
}

// withPort brings a configured "host" or "host:port" into the form of hostPort.
func withPort(s, port string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if h, p, err := net.SplitHostPort(s); err == nil {
		return net.JoinHostPort(h, p)
	}
	return net.JoinHostPort(strings.Trim(s, "[]"), port)
}

// allowed reports whether a redirect may lead to u. "*.example.com" stands for
// sub-domains of example.com, not for itself.
func allowed(u *url.URL, allow []string) bool {
	hp := hostPort(u)
	for _, a := range allow {
		port := "443"
		if u.Scheme == "http" {
			port = "80"
		}
		if parent, ok := strings.CutPrefix(a, "*."); ok {
			if strings.Contains(parent, ".") && strings.HasSuffix(hp, "."+withPort(parent, port)) {
				return true
			}
			continue
		}
		if withPort(a, port) == hp {
			return true
		}
	}
	return false
}

// display is u as it may be shown: no user, and no query unless own is true,
// since redirects to storage hosts carry signatures in their queries.
func display(u *url.URL, own bool) string {
	if u == nil {
		return ""
	}
	c := *u
	c.User, c.Fragment, c.RawFragment = nil, "", ""
	if !own {
		c.RawQuery = ""
	}
	return c.String()
}
