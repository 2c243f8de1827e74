package inspect

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"testing"

	"github.com/headgate/headgate/trust"
)

// TestInnerFilesDescribeNothing: a file of an inner archive is not the package's
// own, whatever its name: it can neither hide what the package does nor accuse it.
func TestInnerFilesDescribeNothing(t *testing.T) {
	evil := `{"name":"@acme/lib","version":"1.2.3","scripts":{"postinstall":"node evil.js"}}`
	inner := tgz(t, file{name: "package/package.json", body: `{"name":"@acme/lib","version":"1.2.3"}`})
	rep := inspectBytes(t, "pkg:npm/%40acme/lib@1.2.3", "l.tgz", tgz(t, file{name: "package/package.json", body: evil}, file{name: "package/z.tgz", body: string(inner)}), "")
	if find(rep, KindInstallCode) == nil {
		t.Errorf("an inner package.json hid the script: %+v", rep.Observations)
	}
	other := tgz(t, file{name: "package/package.json", body: `{"name":"other","version":"9.9.9"}`})
	rep = inspectBytes(t, "pkg:npm/%40acme/lib@1.2.3", "l.tgz", npmPackage(t, file{name: "package/fixtures/other.tgz", body: string(other)}), goodManifest)
	if len(rep.Observations) != 0 {
		t.Errorf("an inner package.json accused the package: %+v", rep.Observations)
	}
	var meta bytes.Buffer
	z := gzip.NewWriter(&meta)
	fmt.Fprint(z, "--- !ruby/object:Gem::Specification\nname: a\nversion: !ruby/object:Gem::Version\n  version: 1.0.0\nextensions:\n- ext/extconf.rb\n")
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	fake := tgz(t, file{name: "metadata", body: "name: a\nversion:\n  version: 1.0.0\n"})
	rep = inspectBytes(t, "pkg:gem/a@1.0.0", "a.gem", plainTar(t, file{name: "metadata.gz", body: meta.String()}, file{name: "data.tar.gz", body: string(fake)}), "")
	if find(rep, KindInstallCode) == nil || find(rep, KindManifest) != nil {
		t.Errorf("a data file hid the extension: %+v", rep.Observations)
	}
}

func TestTwoRecords(t *testing.T) {
	b := zipped(t, file{name: "a-1.0.dist-info/RECORD", body: "a-1.0.dist-info/RECORD,,\n"}, file{name: "b-1.0.dist-info/RECORD", body: "b-1.0.dist-info/RECORD,,\n"})
	if o := find(inspectBytes(t, "pkg:pypi/a@1.0", "a-1.0-py3-none-any.whl", b, ""), KindManifest); o == nil || o.Effect != trust.EffectBlock {
		t.Errorf("%+v", o)
	}
}

func TestNuGetConfusion(t *testing.T) {
	spec := func(id, version string) []byte {
		return zipped(t, file{name: "x.nuspec", body: "<?xml version=\"1.0\"?><package xmlns=\"http://schemas.microsoft.com/packaging/2013/05/nuspec.xsd\"><metadata><id>" + id + "</id><version>" + version + "</version></metadata></package>"})
	}
	for what, tc := range map[string]struct {
		b     []byte
		found bool
	}{
		"right": {spec("Acme.Lib", "1.2.0"), false}, "other spelling": {spec("acme.lib", "1.2"), false},
		"other name": {spec("Acme.Evil", "1.2.0"), true}, "other version": {spec("Acme.Lib", "1.2.1"), true}, "no name": {spec("", ""), true},
	} {
		o := find(inspectBytes(t, "pkg:nuget/Acme.Lib@1.2.0", "acme.lib.1.2.0.nupkg", tc.b, ""), KindManifest)
		if (o != nil) != tc.found || o != nil && o.Effect != trust.EffectBlock {
			t.Errorf("%s: %+v", what, o)
		}
	}
	b := zipped(t, file{name: "analyzers/dotnet/cs/a.dll", body: "code"})
	if o := find(inspectBytes(t, "pkg:nuget/a@1.0.0", "a.nupkg", b, ""), KindInstallCode); o == nil {
		t.Error("an analyzer was not seen")
	}
}

// TestNamesOfWindows: names that meet where dots and spaces at the end are dropped.
func TestNamesOfWindows(t *testing.T) {
	for _, name := range []string{"package/index.js.", "package/index.js ", "package./index.js"} {
		rep := inspectBytes(t, "pkg:nuget/a@1.0.0", "a.nupkg", zipped(t, file{name: "package/index.js", body: "1"}, file{name: name, body: "2"}), "")
		if o := find(rep, KindCaseCollision); o == nil || o.Effect != trust.EffectBlock {
			t.Errorf("%q: %+v", name, rep.Observations)
		}
	}
}
