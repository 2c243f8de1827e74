package upstream

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strings"
)

// Bounds of a .netrc file.
const (
	MaxNetrc        = 1 << 20
	MaxNetrcEntries = 1000
)

// Credentials finds what to authenticate with at a URL. Implementations are
// safe for concurrent use and do no I/O.
type Credentials interface {
	// Authorization returns the value of the Authorization header for u, or ""
	// where there is none. It must answer only for the exact host, and path prefix,
	// that the user gave the secret for.
	Authorization(u *url.URL) string
}

// Scope is one secret with the only place that it is for.
type Scope struct {
	// Host is "host" (for port 443) or "host:port".
	Host string
	// Path is a prefix that ends at a segment's end; empty for the whole host.
	Path string
	// Header is the whole value of the Authorization header, such as "Bearer …".
	Header string
}

// String hides the secret.
func (s Scope) String() string { return s.Host + s.Path + " (secret)" }

// GoString hides the secret from %#v.
func (s Scope) GoString() string { return s.String() }

// Scopes are Credentials made of single secrets; the longest path wins.
type Scopes []Scope

// Bearer returns the header value for a token.
func Bearer(token string) string { return "Bearer " + token }

// Basic returns the header value for a user name and password.
func Basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// Authorization returns the header for the longest matching path on the host.
func (ss Scopes) Authorization(u *url.URL) string {
	best, header := -1, ""
	for _, s := range ss {
		if withPort(s.Host, "443") != hostPort(u) || !pathWithin(u, s.Path) || len(s.Path) <= best {
			continue
		}
		best, header = len(s.Path), s.Header
	}
	return header
}

// pathWithin compares whole segments of the path as it is sent, so that neither
// "/team" matches "/team-evil" nor an escaped slash opens another segment.
func pathWithin(u *url.URL, prefix string) bool {
	prefix = strings.Trim(prefix, "/")
	if prefix == "" {
		return true
	}
	p := strings.TrimPrefix(u.EscapedPath(), "/")
	if strings.Contains(strings.ToLower(p), "%2e") || slices.Contains(strings.Split(p, "/"), "..") {
		return false
	}
	return p == prefix || strings.HasPrefix(p, prefix+"/")
}

// LoadNetrc reads the .netrc file at path, which belongs to the user's home. A
// file that does not exist has no credentials; one that cannot be read or parsed
// is an error, since going on without the credentials asks other questions
// than the user meant.
func LoadNetrc(path string) (Credentials, error) {
	b, err := readBounded(path, MaxNetrc)
	if errors.Is(err, fs.ErrNotExist) {
		return Scopes(nil), nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading credentials: %w", err)
	}
	return ParseNetrc(b)
}

// ParseNetrc reads the machine entries of a .netrc file. "default" entries are
// ignored: a secret without a host is for nobody. Macro definitions are skipped.
// A machine may be "host:port", which means that port alone.
func ParseNetrc(b []byte) (Scopes, error) {
	if len(b) > MaxNetrc {
		return nil, fmt.Errorf("reading .netrc: larger than %d bytes", MaxNetrc)
	}
	var (
		out     Scopes
		machine string
		login   string
		pass    string
		open    bool // inside a machine entry
	)
	flush := func() {
		// The first entry of a host counts, as in curl.
		if open && (login != "" || pass != "") && !slices.ContainsFunc(out, func(s Scope) bool { return s.Host == machine }) {
			out = append(out, Scope{Host: machine, Header: Basic(login, pass)})
		}
		machine, login, pass, open = "", "", "", false
	}
	inMacro := false
	for n, line := range strings.Split(string(b), "\n") {
		if inMacro {
			inMacro = strings.TrimSpace(line) != ""
			continue
		}
		fields := strings.Fields(line)
		for i := 0; i < len(fields); i++ {
			key := fields[i]
			if strings.HasPrefix(key, "#") {
				break
			}
			switch key {
			case "default":
				flush()
				continue
			case "macdef":
				flush()
				inMacro = true
				i = len(fields)
				continue
			case "machine", "login", "password", "account":
			default:
				return nil, fmt.Errorf("reading .netrc: line %d has an unknown word", n+1)
			}
			i++
			if i >= len(fields) {
				return nil, fmt.Errorf("reading .netrc: line %d: %s without a value", n+1, key)
			}
			switch key {
			case "machine":
				flush()
				machine, open = strings.ToLower(fields[i]), true
			case "login":
				login = fields[i]
			case "password":
				pass = fields[i]
			}
		}
		if len(out) > MaxNetrcEntries {
			return nil, fmt.Errorf("reading .netrc: more than %d entries", MaxNetrcEntries)
		}
	}
	flush()
	if len(out) > MaxNetrcEntries {
		return nil, fmt.Errorf("reading .netrc: more than %d entries", MaxNetrcEntries)
	}
	return out, nil
}
