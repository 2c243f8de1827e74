package document

import (
	"testing"

	"github.com/headgate/headgate/sbom"
)

// A package that only the graph names is not passed over in silence.
func TestPackagesOfTheGraphAlone(t *testing.T) {
	for deps, want := range map[string]int{
		`{"ref":"root","dependsOn":["a","pkg:npm/b@1.0.0"]},{"ref":"pkg:npm/app@1.0.0","dependsOn":["svc"]},{"ref":"not-here"}`: 0,
		`{"ref":"pkg:npm/evil@1.0.0"}`:                                        1,
		`{"ref":"a","dependsOn":["pkg:npm/evil@1.0.0","pkg:npm/evil@2.0.0"]}`: 1,
	} {
		inv, err := Read("bom.json", []byte(`{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"metadata":{"component":{"type":"application","bom-ref":"root","name":"app","purl":"pkg:npm/app@1.0.0"}},"services":[{"bom-ref":"svc","name":"s"}],"components":[{"type":"library","bom-ref":"a","name":"a","version":"1.0.0","purl":"pkg:npm/a@1.0.0"},{"type":"library","name":"b","version":"1.0.0","purl":"pkg:npm/b@1.0.0"}],"dependencies":[`+deps+`]}`))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, p := range inv.Problems {
			if p.Code == sbom.ProblemSkipped {
				n++
			}
		}
		if n != want {
			t.Errorf("%s: %v", deps, inv.Problems)
		}
	}
}
