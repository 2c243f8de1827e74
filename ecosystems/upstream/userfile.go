package upstream

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
)

// ReadUserFile reads a configuration file of the user's own, of at most max
// bytes. A file that is not there is no error: it returns nil. What names the
// configuration in errors ("the user's pip configuration").
func ReadUserFile(path string, max int64, what string) ([]byte, error) {
	if path == "" || path == os.DevNull {
		return nil, nil
	}
	b, err := readBounded(path, max)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", what, err)
	}
	return b, nil
}

// RegistryURL takes the credentials out of a registry's URL as the user's own
// configuration states it. It returns the URL with a slash at its end, without
// query and fragment, and the credentials for its host. Its errors never show
// the URL, which may hold a secret; what names the configuration in them.
func RegistryURL(s, what string) (string, Scopes, error) {
	u, err := url.Parse(strings.TrimSpace(s))
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", nil, fmt.Errorf("a registry of %s is no usable URL", what)
	}
	var creds Scopes
	if u.User != nil {
		password, _ := u.User.Password()
		creds = Scopes{{Host: u.Host, Header: Basic(u.User.Username(), password)}}
		u.User = nil
	}
	u.RawQuery, u.Fragment = "", ""
	return strings.TrimSuffix(u.String(), "/") + "/", creds, nil
}
