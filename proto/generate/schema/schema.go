// Package schema reads the .proto files of the events for the programs that generate
// something from them. It uses nothing that is generated.
package schema

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

const (
	// Package is the protobuf package of the events.
	Package = "peerobserver.v1"
	// directory holds the .proto files, relative to the root of the repository.
	directory = "proto/peerobserver/v1"

	// protocVersion is written into the generated files, so another version would
	// show as a difference in each of them. It is that of Debian 12 and Ubuntu 24.04.
	protocVersion = "3.21.12"
)

// Sources lists the .proto files relative to root, the root of the repository.
func Sources(root string) ([]string, error) {
	sources, err := filepath.Glob(filepath.Join(root, directory, "*.proto"))
	if err != nil {
		return nil, err
	}
	if len(sources) == 0 {
		return nil, fmt.Errorf("no .proto files in %s: run in the root of the repository", filepath.Join(root, directory))
	}
	for i := range sources {
		if sources[i], err = filepath.Rel(root, sources[i]); err != nil {
			return nil, err
		}
		sources[i] = filepath.ToSlash(sources[i])
	}
	return sources, nil
}

// Read gives the descriptors of the .proto files, with their comments.
func Read(root string) (*protoregistry.Files, error) {
	sources, err := Sources(root)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "descriptors")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "set")
	if err := Protoc(root, append([]string{"--include_source_info", "--include_imports", "--descriptor_set_out=" + file}, sources...)...); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	set := new(descriptorpb.FileDescriptorSet)
	if err := proto.Unmarshal(data, set); err != nil {
		return nil, err
	}
	return protodesc.NewFiles(set)
}

// Protoc runs protoc in root.
func Protoc(root string, arguments ...string) error {
	if err := checkVersion(); err != nil {
		return err
	}
	command := exec.Command("protoc", append([]string{"--proto_path=proto"}, arguments...)...)
	command.Dir = root
	command.Stderr = os.Stderr
	if err := command.Run(); err != nil {
		return fmt.Errorf("protoc: %w", err)
	}
	return nil
}

func checkVersion() error {
	version, err := exec.Command("protoc", "--version").Output()
	if errors.Is(err, exec.ErrNotFound) {
		return errors.New("protoc is missing: run `make setup` or install protobuf-compiler")
	}
	if err != nil {
		return fmt.Errorf("protoc --version: %w", err)
	}
	if got := strings.TrimPrefix(strings.TrimSpace(string(version)), "libprotoc "); got != protocVersion {
		return fmt.Errorf("protoc is version %s, but the generated files are made with %s (Debian 12, Ubuntu 24.04)", got, protocVersion)
	}
	return nil
}

// Messages lists the messages of a list and all nested in them, without map entries.
func Messages(list protoreflect.MessageDescriptors) []protoreflect.MessageDescriptor {
	var all []protoreflect.MessageDescriptor
	for i := range list.Len() {
		if m := list.Get(i); !m.IsMapEntry() {
			all = append(all, m)
			all = append(all, Messages(m.Messages())...)
		}
	}
	return all
}
