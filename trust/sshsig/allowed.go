package sshsig

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Bounds of an allowed_signers file.
const (
	MaxAllowedSigners = 1 << 20 // bytes
	MaxAllowedLines   = 10000
)

// AllowedSigner is one line of an allowed_signers file (ssh-keygen(1), section
// "ALLOWED SIGNERS").
type AllowedSigner struct {
	// Principals are patterns with "*" and "?"; one that starts with "!" excludes.
	Principals []string
	// Namespaces are patterns; none means all.
	Namespaces []string
	// ValidAfter and ValidBefore bound the time of the signature; zero is no bound.
	ValidAfter, ValidBefore time.Time
	Key                     ssh.PublicKey
}

// ParseAllowedSigners reads an allowed_signers file. One line that cannot be
// read makes the whole file an error: it may have been the one that excludes.
//
// Lines with cert-authority are refused, and so are times without "Z", which
// OpenSSH reads in the time zone of whoever looks.
func ParseAllowedSigners(file []byte) ([]AllowedSigner, error) {
	if len(file) > MaxAllowedSigners {
		return nil, fmt.Errorf("allowed signers: %d bytes are more than %d", len(file), MaxAllowedSigners)
	}
	lines := strings.Split(string(file), "\n")
	if len(lines) > MaxAllowedLines {
		return nil, fmt.Errorf("allowed signers: more than %d lines", MaxAllowedLines)
	}
	var out []AllowedSigner
	for i, line := range lines {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		a, err := parseAllowed(line)
		if err != nil {
			return nil, fmt.Errorf("allowed signers, line %d: %w", i+1, err)
		}
		out = append(out, a)
	}
	return out, nil
}

func parseAllowed(line string) (AllowedSigner, error) {
	var a AllowedSigner
	words, err := words(line)
	if err != nil {
		return a, err
	}
	if len(words) < 3 {
		return a, fmt.Errorf("needs principals, key type and key")
	}
	if a.Principals, err = patterns(words[0]); err != nil {
		return a, err
	}
	words = words[1:]
	if !isKeyType(words[0]) {
		if err := a.options(words[0]); err != nil {
			return a, err
		}
		words = words[1:]
	}
	if len(words) < 2 {
		return a, fmt.Errorf("needs principals, key type and key")
	}
	a.Key, err = parseKey(words[0], words[1])
	return a, err
}

func isKeyType(s string) bool {
	return strings.HasPrefix(s, "ssh-") || strings.HasPrefix(s, "ecdsa-") || strings.HasPrefix(s, "sk-") || strings.HasPrefix(s, "rsa-")
}

func (a *AllowedSigner) options(s string) error {
	seen := map[string]bool{}
	for _, opt := range split(s) {
		name, val, has := strings.Cut(opt, "=")
		name = strings.ToLower(name)
		if seen[name] {
			return fmt.Errorf("option %q twice", clip(name))
		}
		seen[name] = true
		if name == "cert-authority" {
			return fmt.Errorf("certificate authorities are not supported; name the keys")
		}
		if !has || len(val) < 2 || val[0] != '"' || val[len(val)-1] != '"' {
			return fmt.Errorf("option %q needs a value in double quotes", clip(name))
		}
		val = val[1 : len(val)-1]
		var err error
		switch name {
		case "namespaces":
			a.Namespaces, err = patterns(val)
		case "valid-after":
			a.ValidAfter, err = parseTime(val)
		case "valid-before":
			a.ValidBefore, err = parseTime(val)
		default:
			err = fmt.Errorf("unknown option %q", clip(name))
		}
		if err != nil {
			return err
		}
	}
	if !a.ValidAfter.IsZero() && !a.ValidBefore.IsZero() && !a.ValidBefore.After(a.ValidAfter) {
		return fmt.Errorf("valid-before is not after valid-after")
	}
	return nil
}

func parseTime(s string) (time.Time, error) {
	z, ok := strings.CutSuffix(s, "Z")
	if !ok {
		return time.Time{}, fmt.Errorf("time %q depends on the time zone of the reader; write it in UTC with Z at its end", clip(s))
	}
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(z) == len(layout) {
			t, err := time.Parse(layout, z)
			if err != nil {
				return time.Time{}, fmt.Errorf("time %q: %w", clip(s), err)
			}
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("time %q is not YYYYMMDD[HHMM[SS]]Z", clip(s))
}

// Allows reports whether the line lets principal sign in namespace at that
// time. Valid-before itself is no longer valid.
func (a AllowedSigner) Allows(principal, namespace string, at time.Time) bool {
	if !matchList(a.Principals, principal) {
		return false
	}
	if len(a.Namespaces) > 0 && !matchList(a.Namespaces, namespace) {
		return false
	}
	if !a.ValidAfter.IsZero() && at.Before(a.ValidAfter) {
		return false
	}
	return a.ValidBefore.IsZero() || at.Before(a.ValidBefore)
}

// words splits at white space outside double quotes.
func words(line string) ([]string, error) {
	var out []string
	var b strings.Builder
	quoted := false
	for _, r := range line {
		switch {
		case r == '"':
			quoted = !quoted
			b.WriteRune(r)
		case (r == ' ' || r == '\t') && !quoted:
			if b.Len() > 0 {
				out = append(out, b.String())
				b.Reset()
			}
		default:
			b.WriteRune(r)
		}
	}
	if quoted {
		return nil, fmt.Errorf("a double quote is not closed")
	}
	if b.Len() > 0 {
		out = append(out, b.String())
	}
	return out, nil
}

// split splits at commas outside double quotes.
func split(s string) []string {
	var out []string
	quoted, from := false, 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			out = append(out, s[from:i])
			from = i + 1
		}
	}
	return append(out, s[from:])
}

func patterns(s string) ([]string, error) {
	s = strings.Trim(s, `"`)
	ps := strings.Split(s, ",")
	for _, p := range ps {
		if strings.TrimPrefix(p, "!") == "" {
			return nil, fmt.Errorf("empty pattern in %q", clip(s))
		}
		if strings.Contains(p, `"`) {
			return nil, fmt.Errorf("double quote inside %q", clip(s))
		}
	}
	return ps, nil
}

// matchList is OpenSSH's match_pattern_list: a negated match wins.
func matchList(patterns []string, s string) bool {
	found := false
	for _, p := range patterns {
		n, negated := strings.CutPrefix(p, "!")
		if match(n, s) {
			if negated {
				return false
			}
			found = true
		}
	}
	return found
}

// match matches "*" and "?" over the whole of s, in time linear in their product.
func match(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
