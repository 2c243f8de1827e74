package npm

import (
	"net/url"
	"time"

	"github.com/headgate/headgate/trust/sigstore"
)

// KeysTarget is the TUF target with the public registry's keys.
func KeysTarget() string {
	u, err := url.Parse(DefaultRegistry)
	if err != nil {
		return ""
	}
	return u.Host + "/keys.json"
}

// LoadTrust makes the adapter's trust material of a trusted root and the key
// target as TUF verified them at the time obtained. What cannot be used is left
// nil, and Err says why: an old root loses the keys too, since both are as old.
func LoadTrust(trustedRoot, keys []byte, obtained, now time.Time, maxAge time.Duration) Trust {
	root, err := sigstore.LoadTrustedRoot(trustedRoot, sigstore.RootOptions{Obtained: obtained, Now: now, MaxAge: maxAge})
	if err != nil {
		return Trust{Err: err}
	}
	t := Trust{Root: root}
	if len(keys) > 0 {
		if t.Keys, err = sigstore.ParseNPMKeys(keys); err != nil {
			return Trust{Root: root, Err: err}
		}
	}
	return t
}
