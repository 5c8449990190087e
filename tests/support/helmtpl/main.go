// SPDX-License-Identifier: Apache-2.0

// helmtpl renders a chart without a cluster and without Helm, from the parts that Helm itself is made of: Go's
// text/template, the functions of sprig, sigs.k8s.io/yaml. It does what the charts of this project use, and is
// stricter: a value that does not exist and a key that comes twice are errors.
//
//	helmtpl [-n NAMESPACE] [-k KUBERNETES-VERSION] [-l LIVE.json] [-f VALUES.yaml]... RELEASE CHART
//
// prints {"values": as merged, "objects": [...], "notes": "..."} as JSON. LIVE.json has the objects that `lookup`
// finds. Not covered: dependencies between charts, hooks, the schema of the values (see check.mjs).
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"sigs.k8s.io/yaml"
)

type object = map[string]interface{}

const deepest = 100 // templates that include each other

type texts []string

func (t *texts) String() string     { return strings.Join(*t, ",") }
func (t *texts) Set(s string) error { *t = append(*t, s); return nil }

// --- values ---

func load(path string) (object, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	out := object{}
	if err := yaml.UnmarshalStrict(text, &out); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}

// What is in both is merged if both are objects; else the new one counts, and null takes away.
func lay(over, values object) {
	for key, value := range over {
		fresh, isObject := value.(object)
		old, wasObject := values[key].(object)
		switch {
		case value == nil:
			delete(values, key)
		case isObject && wasObject:
			lay(fresh, old)
		default:
			values[key] = value
		}
	}
}

func mergeValues(chart string, files []string) (object, error) {
	values, err := load(filepath.Join(chart, "values.yaml"))
	for _, file := range files {
		var over object
		if err == nil {
			over, err = load(file)
		}
		if err == nil {
			lay(over, values)
		}
	}
	return values, err
}

// --- functions that sprig does not have ---

func toYaml(value interface{}) (string, error) {
	text, err := yaml.Marshal(value)
	return strings.TrimSuffix(string(text), "\n"), err
}

func fromYaml(text string) (object, error) {
	out := object{}
	return out, yaml.UnmarshalStrict([]byte(text), &out)
}

func find(live []object, apiVersion, kind, namespace, name string) object {
	for _, one := range live {
		about, _ := one["metadata"].(object)
		if one["apiVersion"] == apiVersion && one["kind"] == kind && about["namespace"] == namespace &&
			about["name"] == name {
			return one
		}
	}
	return object{}
}

func functions(root *template.Template, live []object) template.FuncMap {
	depth := 0
	all := sprig.TxtFuncMap()
	delete(all, "env")
	delete(all, "expandenv")
	all["toYaml"] = toYaml
	all["fromYaml"] = fromYaml
	all["lookup"] = func(apiVersion, kind, namespace, name string) object {
		return find(live, apiVersion, kind, namespace, name)
	}
	all["include"] = func(name string, data interface{}) (string, error) {
		var out strings.Builder
		if depth++; depth > deepest {
			return "", errors.New(name + " includes itself without end")
		}
		defer func() { depth-- }()
		err := root.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	return all
}

// --- templates ---

func parse(chart string, live []object) (*template.Template, []string, error) {
	root := template.New("").Option("missingkey=zero")
	root.Funcs(functions(root, live))
	names, err := filepath.Glob(filepath.Join(chart, "templates", "*"))
	sort.Strings(names)
	for i := 0; err == nil && i < len(names); i++ {
		var text []byte
		text, err = os.ReadFile(names[i])
		names[i] = filepath.Base(names[i])
		if err == nil {
			_, err = root.New(names[i]).Parse(string(text))
		}
	}
	return root, names, err
}

func split(name, text string) ([]object, error) {
	var out []object
	for _, document := range strings.Split("\n"+text, "\n---") {
		one := object{}
		if err := yaml.UnmarshalStrict([]byte(document), &one); err != nil {
			return nil, fmt.Errorf("%s: %w in:\n%s", name, err, document)
		}
		if len(one) > 0 {
			out = append(out, one)
		}
	}
	return out, nil
}

func render(root *template.Template, names []string, data object) ([]object, string, error) {
	var objects []object
	notes := ""
	for _, name := range names {
		var out strings.Builder
		if strings.HasPrefix(name, "_") {
			continue
		}
		if err := root.ExecuteTemplate(&out, name, data); err != nil {
			return nil, "", err
		}
		if strings.Contains(out.String(), "<no value>") {
			return nil, "", fmt.Errorf("%s: a value that does not exist is printed:\n%s", name, out.String())
		}
		if name == "NOTES.txt" {
			notes = out.String()
			continue
		}
		more, err := split(name, out.String())
		if err != nil {
			return nil, "", err
		}
		objects = append(objects, more...)
	}
	return objects, notes, nil
}

// --- the program ---

func run() error {
	var files texts
	var live []object
	namespace := flag.String("n", "default", "namespace")
	version := flag.String("k", "v1.31.0", "version of Kubernetes")
	livePath := flag.String("l", "", "objects that lookup finds")
	flag.Var(&files, "f", "values")
	flag.Parse()
	if flag.NArg() != 2 {
		return errors.New("expected RELEASE and CHART")
	}
	about, err := load(filepath.Join(flag.Arg(1), "Chart.yaml"))
	if err != nil {
		return err
	}
	values, err := mergeValues(flag.Arg(1), files)
	if err == nil && *livePath != "" {
		var text []byte
		if text, err = os.ReadFile(*livePath); err == nil {
			err = json.Unmarshal(text, &live)
		}
	}
	if err != nil {
		return err
	}
	root, names, err := parse(flag.Arg(1), live)
	if err != nil {
		return err
	}
	chart := object{}
	for key, value := range about {
		chart[strings.ToUpper(key[:1])+key[1:]] = value
	}
	objects, notes, err := render(root, names, object{
		"Values": values, "Chart": chart,
		"Release":      object{"Name": flag.Arg(0), "Namespace": *namespace, "Service": "Helm"},
		"Capabilities": object{"KubeVersion": object{"Version": *version}},
	})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(object{"values": values, "objects": objects, "notes": notes})
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "helmtpl:", err)
		os.Exit(1)
	}
}
