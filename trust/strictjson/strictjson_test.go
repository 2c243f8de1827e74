package strictjson

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
)

type subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

type base struct {
	Type string `json:"_type"`
}

type document struct {
	base
	Subject  []subject `json:"subject"`
	Optional *subject  `json:"optional,omitempty"`
	Any      any       `json:"any"`
}

func TestThreat093StrictJSON(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		want     error
	}{
		{"duplicate", `{"subject":[],"subject":[]}`, ErrDuplicateKey},
		{"duplicate by escape", `{"subject":[],"sub\u006aect":[]}`, ErrDuplicateKey},
		{"duplicate nested in any", `{"any":{"a":[{"b":1,"b":2}]}}`, ErrDuplicateKey},
		{"duplicate in map", `{"subject":[{"digest":{"sha256":"a","sha256":"b"}}]}`, ErrDuplicateKey},
		{"case beside", `{"subject":[],"Subject":[]}`, ErrKeyCase},
		{"case instead", `{"Subject":[]}`, ErrKeyCase},
		{"case in embedded", `{"_TYPE":"x"}`, ErrKeyCase},
		{"long s", `{"ſubject":[]}`, ErrKeyCase},
		{"case in slice element", `{"subject":[{"Name":"x"}]}`, ErrKeyCase},
		{"case in pointer", `{"optional":{"NAME":"x"}}`, ErrKeyCase},
		{"case in map", `{"subject":[{"digest":{"sha256":"a","SHA256":"b"}}]}`, ErrKeyCase},
		{"trailing object", `{} {}`, ErrTrailingData},
		{"trailing junk", `{}x`, ErrTrailingData},
		{"trailing bracket", `{}]`, ErrTrailingData},
		{"empty", ``, io.ErrUnexpectedEOF},
		{"invalid UTF-8", "{\"any\":\"\xff\"}", ErrEncoding},
		{"half a pair", `{"any":"\ud800"}`, ErrEncoding},
		{"second half", `{"any":"\udc00"}`, ErrEncoding},
		{"first half twice", `{"any":"\ud800\ud800"}`, ErrEncoding},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var d document
			if err := Unmarshal([]byte(tc.in), &d); !errors.Is(err, tc.want) {
				t.Errorf("Unmarshal: %v, want %v", err, tc.want)
			}
		})
	}
}

func TestUnmarshal(t *testing.T) {
	const in = ` {"_type":"s","subject":[{"name":"n","digest":{"sha256":"a"},"extra":1}],"any":{"x":[1,"😀\\u"]},"new":true} `
	var d document
	if err := Unmarshal([]byte(in), &d); err != nil {
		t.Fatal(err)
	}
	if d.Type != "s" || len(d.Subject) != 1 || d.Subject[0].Digest["sha256"] != "a" {
		t.Errorf("read %+v", d)
	}
	if err := UnmarshalKnown([]byte(in), &d); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("UnmarshalKnown: %v", err)
	}
	if err := UnmarshalKnown([]byte(`{"subject":[{"name":"n","extra":1}]}`), &d); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("UnmarshalKnown nested: %v", err)
	}
	if err := UnmarshalKnown([]byte(`{"any":{"free":1},"optional":{"name":"x"}}`), &d); err != nil {
		t.Errorf("UnmarshalKnown: %v", err)
	}
}

func TestDepth(t *testing.T) {
	at := strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth)
	if err := Check([]byte(at)); err != nil {
		t.Errorf("at the bound: %v", err)
	}
	if err := Check([]byte("[" + at + "]")); !errors.Is(err, ErrTooDeep) {
		t.Errorf("above the bound: %v", err)
	}
}

func TestSize(t *testing.T) {
	at := []byte(`"` + strings.Repeat("x", MaxBytes-2) + `"`)
	if err := Check(at); err != nil {
		t.Errorf("at the bound: %v", err)
	}
	if err := Check(append(at, ' ')); !errors.Is(err, ErrTooLarge) {
		t.Errorf("above the bound: %v", err)
	}
}

// FuzzUnmarshal: what is accepted must read the same when it is written again.
func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(`{"subject":[{"name":"n","digest":{"sha256":"a"}}],"any":[1,{"b":null}]}`))
	f.Add([]byte(`{"Subject":1}`))
	f.Add([]byte(`"\ud83d\ude00"`))
	f.Fuzz(func(t *testing.T, in []byte) {
		var v any
		if Unmarshal(in, &v) != nil {
			return
		}
		out, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(out); err != nil {
			t.Fatalf("%q became %q: %v", in, out, err)
		}
		var d document
		_ = UnmarshalKnown(in, &d)
	})
}
