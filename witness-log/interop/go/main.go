// Command interop checks a log directory that the crate wrote with the Go implementations of the same specifications, and writes one for
// the crate to read.
//
//	interop check DIR   reads DIR/{policy,log,publication.tlog-proof,earlier-checkpoint} and verifies all of it
//	interop make DIR    writes the same files with Tessera and the signers of transparency-dev/formats
package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	flog "github.com/transparency-dev/formats/log"
	fnote "github.com/transparency-dev/formats/note"
	fproof "github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/formats/witness"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: interop check|make DIR")
		os.Exit(2)
	}
	run := map[string]func(string) error{"check": check, "make": build}[os.Args[1]]
	if run == nil {
		fmt.Fprintln(os.Stderr, "usage: interop check|make DIR")
		os.Exit(2)
	}
	if err := run(os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}

// keys reads the log's and the cosigners' verifiers from a policy; the rest of it is left to witness.ParsePolicy.
func keys(policy []byte) (note.Verifier, []note.Verifier, error) {
	var log note.Verifier
	var cosigners []note.Verifier
	for _, line := range strings.Split(string(policy), "\n") {
		fields := strings.Fields(line)
		switch {
		case len(fields) >= 2 && fields[0] == "log":
			v, err := note.NewVerifier(fields[1])
			if err != nil {
				return nil, nil, fmt.Errorf("log key: %w", err)
			}
			log = v
		case len(fields) >= 3 && fields[0] == "witness":
			v, err := fnote.NewVerifierForCosignatureV1(fields[2])
			if err != nil {
				return nil, nil, fmt.Errorf("cosigner key: %w", err)
			}
			cosigners = append(cosigners, v)
		}
	}
	if log == nil {
		return nil, nil, errors.New("the policy names no log")
	}
	return log, cosigners, nil
}

func check(dir string) error {
	ctx := context.Background()
	policy, err := os.ReadFile(filepath.Join(dir, "policy"))
	if err != nil {
		return err
	}
	log, cosigners, err := keys(policy)
	if err != nil {
		return err
	}
	group, err := witness.ParsePolicy(policy)
	if err != nil {
		return fmt.Errorf("formats/witness: %w", err)
	}
	files := client.FileFetcher{Root: filepath.Join(dir, "log")}
	cp, raw, _, err := client.FetchCheckpoint(ctx, files.ReadCheckpoint, log, log.Name())
	if err != nil {
		return fmt.Errorf("tessera/client checkpoint: %w", err)
	}
	if !group.Satisfied(raw) {
		return errors.New("formats/witness: no quorum")
	}
	opened, err := note.Open(raw, note.VerifierList(append(cosigners, log)...))
	if err != nil {
		return fmt.Errorf("sumdb/note: %w", err)
	}
	fmt.Printf("checkpoint of %d entries, %d signatures verified, quorum reached\n", cp.Size, len(opened.Sigs))

	hasher := func(bundle []byte) ([][]byte, error) {
		eb := api.EntryBundle{}
		if err := eb.UnmarshalText(bundle); err != nil {
			return nil, err
		}
		hashes := [][]byte{}
		for _, entry := range eb.Entries {
			hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
		}
		return hashes, nil
	}
	// A worker that finds a fault stops; with fewer workers than tiles the rest of fsck would wait for it for ever.
	workers := uint(cp.Size/256 + 16)
	if err := fsck.New(log.Name(), log, files, hasher, fsck.Opts{N: workers}).Check(ctx); err != nil {
		return fmt.Errorf("tessera/fsck: %w", err)
	}
	fmt.Println("tiles and entries add up to the root")

	if err := checkSumdb(dir, cp); err != nil {
		return err
	}
	if err := checkPublication(dir, group, log); err != nil {
		return err
	}
	return checkConsistency(ctx, dir, files, cp, log)
}

// tiles reads tiles for golang.org/x/mod/sumdb/tlog, which names them in its own way.
type tiles struct{ root string }

func (t tiles) Height() int { return 8 }

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, tile := range wanted {
		name := layout.TilePath(uint64(tile.L), uint64(tile.N), uint8(tile.W%256))
		data, err := os.ReadFile(filepath.Join(t.root, name))
		if err != nil {
			return nil, err
		}
		out = append(out, data)
	}
	return out, nil
}

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// checkSumdb proves entries and older sizes with the Go checksum database's own code.
func checkSumdb(dir string, cp *flog.Checkpoint) error {
	tree := tlog.Tree{N: int64(cp.Size), Hash: tlog.Hash(cp.Hash)}
	reader := tlog.TileHashReader(tree, tiles{filepath.Join(dir, "log")})
	step := tree.N/17 + 1
	for n := int64(0); n < tree.N; n += step {
		record, err := tlog.ProveRecord(tree.N, n, reader)
		if err != nil {
			return fmt.Errorf("sumdb/tlog record %d: %w", n, err)
		}
		leaf, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, n)})
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(record, tree.N, tree.Hash, n, leaf[0]); err != nil {
			return fmt.Errorf("sumdb/tlog record %d: %w", n, err)
		}
	}
	fmt.Println("sumdb/tlog reads the tiles")
	return nil
}

// checkPublication verifies a tlog-proof whose extra data is the entry.
func checkPublication(dir string, group witness.Group, log note.Verifier) error {
	raw, err := os.ReadFile(filepath.Join(dir, "publication.tlog-proof"))
	if err != nil {
		return err
	}
	var p fproof.TLogProof
	if err := p.Unmarshal(raw); err != nil {
		return fmt.Errorf("formats/proof: %w", err)
	}
	if !bytes.Equal(p.Marshal(), raw) {
		return errors.New("formats/proof writes the proof differently")
	}
	if !group.Satisfied(p.Checkpoint) {
		return errors.New("the proof's checkpoint has no quorum")
	}
	cp, _, _, err := flog.ParseCheckpoint(p.Checkpoint, log.Name(), log)
	if err != nil {
		return err
	}
	var path [][]byte
	for _, h := range p.Hashes {
		path = append(path, h[:])
	}
	leaf := rfc6962.DefaultHasher.HashLeaf(p.ExtraData)
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, p.Index, cp.Size, leaf, path, cp.Hash); err != nil {
		return fmt.Errorf("merkle/proof: %w", err)
	}
	fmt.Printf("entry %d is proven\n", p.Index)
	return nil
}

// checkConsistency leads from an earlier checkpoint to the present one.
func checkConsistency(ctx context.Context, dir string, files client.FileFetcher, cp *flog.Checkpoint, log note.Verifier) error {
	raw, err := os.ReadFile(filepath.Join(dir, "earlier-checkpoint"))
	if err != nil {
		return err
	}
	old, _, _, err := flog.ParseCheckpoint(raw, log.Name(), log)
	if err != nil {
		return fmt.Errorf("earlier checkpoint: %w", err)
	}
	builder, err := client.NewProofBuilder(ctx, cp.Size, files.ReadTile)
	if err != nil {
		return err
	}
	path, err := builder.ConsistencyProof(ctx, old.Size, cp.Size)
	if err != nil {
		return err
	}
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, old.Size, cp.Size, path, old.Hash, cp.Hash); err != nil {
		return fmt.Errorf("merkle/proof: %w", err)
	}
	fmt.Printf("the tree of %d entries begins with that of %d\n", cp.Size, old.Size)
	return nil
}

// secret writes an Ed25519 seed as a signer key of sumdb/note.
func secret(name string, seed byte) (skey, vkey string) {
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	public := append([]byte{1}, private.Public().(ed25519.PublicKey)...)
	id := sha256.Sum256(append([]byte(name+"\n"), public...))
	hash := binary.BigEndian.Uint32(id[:4])
	key := append([]byte{1}, private.Seed()...)
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", name, hash, encode(key)), fmt.Sprintf("%s+%08x+%s", name, hash, encode(public))
}

// entry makes the n-th leaf: a preimage, but a tick every fourth time.
func entry(n int) []byte {
	timeMs := binary.BigEndian.AppendUint64(nil, uint64(1700000000000+n/4*250))
	if n%4 == 3 {
		return append([]byte{0}, timeMs...)
	}
	preimage := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("preimage"), uint64(n)))
	return append(append([]byte{1}, timeMs...), preimage[:]...)
}

const (
	origin  = "log.example/tessera"
	entries = 600
	earlier = 344
	proven  = 301
)

func build(dir string) error {
	logKey, logVerifier := secret(origin, 11)
	policy := "log " + logVerifier + " https://log.example/tessera\n"
	var cosigners []note.Signer
	for n := byte(1); n <= 3; n++ {
		skey, vkey := secret(fmt.Sprintf("cosigner.example/%d", n), 20+n)
		vkey, err := fnote.VKeyToCosignatureV1(vkey)
		if err != nil {
			return err
		}
		policy += fmt.Sprintf("witness w%d %s https://cosigner.example/%d\n", n, vkey, n)
		signer, err := fnote.NewSignerForCosignatureV1(skey)
		if err != nil {
			return err
		}
		if n < 3 {
			cosigners = append(cosigners, signer)
		}
	}
	policy += "group g 2 w1 w2 w3\nquorum g\n"
	if err := os.WriteFile(filepath.Join(dir, "policy"), []byte(policy), 0o644); err != nil {
		return err
	}
	signer, err := note.NewSigner(logKey)
	if err != nil {
		return err
	}
	root := filepath.Join(dir, "log")
	old, err := grow(root, signer, 0, earlier)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "earlier-checkpoint"), old, 0o644); err != nil {
		return err
	}
	head, err := grow(root, signer, earlier, entries)
	if err != nil {
		return err
	}
	if err := prune(root); err != nil {
		return err
	}
	return finish(dir, head, cosigners, logVerifier)
}

// prune removes Tessera's own book-keeping, which is no part of the log, and partial tiles of sizes that had no checkpoint.
func prune(root string) error {
	if err := os.RemoveAll(filepath.Join(root, ".state")); err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, size := range []uint64{earlier, entries} {
		for level := uint64(0); level < 2; level++ {
			index := size >> (8 * (level + 1))
			partial := layout.PartialTileSize(level, index, size)
			wanted[layout.TilePath(level, index, partial)] = true
			wanted[layout.EntriesPath(index, partial)] = true
		}
	}
	return filepath.WalkDir(root, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(name, ".p"+string(filepath.Separator)) {
			return err
		}
		below, err := filepath.Rel(root, name)
		if err != nil || wanted[filepath.ToSlash(below)] {
			return err
		}
		return os.Remove(name)
	})
}

// grow lets Tessera add entries and returns the checkpoint after the last of them.
func grow(root string, signer note.Signer, from, to int) ([]byte, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	driver, err := posix.New(ctx, posix.Config{Path: root})
	if err != nil {
		return nil, err
	}
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithCheckpointInterval(200*time.Millisecond).
		WithBatching(64, 100*time.Millisecond)
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		return nil, err
	}
	var added []tessera.IndexFuture
	for n := from; n < to; n++ {
		added = append(added, appender.Add(ctx, tessera.NewEntry(entry(n))))
	}
	for n := from; n < to; n++ {
		index, err := added[n-from]()
		if err != nil {
			return nil, err
		}
		if index.Index != uint64(n) {
			return nil, fmt.Errorf("entry %d got index %d", n, index.Index)
		}
	}
	if err := shutdown(ctx); err != nil {
		return nil, err
	}
	return reader.ReadCheckpoint(ctx)
}

// finish cosigns the head and proves an entry under it.
func finish(dir string, head []byte, cosigners []note.Signer, logVerifier string) error {
	verifier, err := note.NewVerifier(logVerifier)
	if err != nil {
		return err
	}
	opened, err := note.Open(head, note.VerifierList(verifier))
	if err != nil {
		return err
	}
	cosigned, err := note.Sign(opened, cosigners...)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "log", "checkpoint"), cosigned, 0o644); err != nil {
		return err
	}
	ctx := context.Background()
	files := client.FileFetcher{Root: filepath.Join(dir, "log")}
	builder, err := client.NewProofBuilder(ctx, entries, files.ReadTile)
	if err != nil {
		return err
	}
	path, err := builder.InclusionProof(ctx, proven)
	if err != nil {
		return err
	}
	p := fproof.TLogProof{Index: proven, Checkpoint: cosigned, ExtraData: entry(proven)}
	for _, h := range path {
		p.Hashes = append(p.Hashes, [sha256.Size]byte(h))
	}
	return os.WriteFile(filepath.Join(dir, "publication.tlog-proof"), p.Marshal(), 0o644)
}
