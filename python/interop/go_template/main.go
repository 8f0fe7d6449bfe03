// What Go's text/template makes of the templates that `foretune export ollama` writes.
//
// Reads a JSON list of {"template", "system", "prompt"} from standard input and writes the list of
// texts up to the answer, as ollama executes such a template for a question. Run by the tests of
// crates/cli/src/flow/ollama when `go` is installed: go run python/interop/go_template/main.go
package main

import (
	"encoding/json"
	"os"
	"strings"
	"text/template"
)

const response = "RESPONSE-7c1f"

type question struct {
	Template, System, Prompt string
}

func main() {
	var questions []question
	fail(json.NewDecoder(os.Stdin).Decode(&questions))
	texts := []string{}
	for _, asked := range questions {
		parsed, err := template.New("").Option("missingkey=zero").Parse(asked.Template)
		fail(err)
		var out strings.Builder
		fail(parsed.Execute(&out, map[string]any{
			"System": asked.System, "Prompt": asked.Prompt, "Response": response,
		}))
		before, _, found := strings.Cut(out.String(), response)
		if !found {
			panic("the template does not write the answer")
		}
		texts = append(texts, before)
	}
	fail(json.NewEncoder(os.Stdout).Encode(texts))
}

func fail(err error) {
	if err != nil {
		panic(err)
	}
}
