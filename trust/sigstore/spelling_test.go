package sigstore

import "testing"

// Two spellings of one repository are one; look-alikes are not, and what cannot be
// a repository of that host is refused.
func TestSpellingsOfARepository(t *testing.T) {
	want, err := repositoryURL("https://github.com/acme/widget")
	if err != nil {
		t.Fatal(err)
	}
	for _, same := range []string{"https://github.com/Acme/Widget", "https://GitHub.com/acme/widget", "https://github.com/acme/widget/", "https://github.com/acme/widget.git", "https://github.com/ACME/widget.git"} {
		if got, err := repositoryURL(same); err != nil || got != want {
			t.Errorf("%s is %q, %v", same, got, err)
		}
	}
	for _, other := range []string{
		"https://github.com/acme/widgets", "https://github.com/acme-inc/widget", "https://github.com/acme/widget.git.git", "https://github.com.evil.example/acme/widget",
		"https://github.com/\u0430cme/widget", "https://github.com/acme/w\u0456dget", "https://github.com/acme/widget\u200b", "https://github.com/\u212aacme/widget",
		"https://gist.github.com/acme/widget", "https://github.com/acme/x/../widget", "https://github.com/acme/%77idget", "https://user@github.com/acme/widget",
		"https://github.com/acme/widget?x=1", "https://github.com/acme/widget#x", "http://github.com/acme/widget", "https://github.com:8443/acme/widget",
	} {
		if got, err := repositoryURL(other); err == nil && got == want {
			t.Errorf("%q counts as %s", other, want)
		}
	}
	if got, err := repositoryURL("https://github.com/\u212aube/widget"); err == nil {
		t.Errorf("a Kelvin sign folds into %q", got)
	}
	// Where a host tells case apart, so does headgate.
	a, err1 := repositoryURL("https://forge.example.com/Acme/widget")
	b, err2 := repositoryURL("https://forge.example.com/acme/widget")
	if err1 != nil || err2 != nil || a == b {
		t.Errorf("%q, %q: %v, %v", a, b, err1, err2)
	}
}
