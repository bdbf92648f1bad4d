#include "run/trainer_at.h"

namespace waggle {
namespace {

Result<std::shared_ptr<const Model>> TeacherOf(const RunSite& site, const RunFolder& folder,
                                               const Ops& ops, ThreadPool& pool) {
  const RunDescription& d = site.description;
  WG_ASSIGN(const BaseModel teacher, LoadBaseModel(folder.teacher()));
  const bool same_shape = WriteModelConfig(teacher.model.config, "float32") ==
                          WriteModelConfig(d.teacher->model, "float32");
  if (!same_shape ||
      StartWithTeacher(d.teacher->weights, teacher.model.parameters, pool) != d.start)
    return Fail(Blame::kPeer, "{} is not the run's teacher", folder.teacher().string());
  return Model::Create(teacher.model.config, site.numerics, teacher.model.parameters, nullptr, ops);
}

}  // namespace

Result<std::unique_ptr<Trainer>> TrainerAt(const RunSite& site, const Hash256& run,
                                           const RunFolder& folder, PolicyVersion version,
                                           const Ops& ops, ThreadPool& pool) {
  const RunDescription& d = site.description;
  WG_ASSIGN(auto trainer,
            Trainer::LoadCheckpoint(folder.checkpoint(version.value) / "trainer", d.model,
                                    site.numerics, d.recipe.trainer, ops, pool));
  trainer->SetRunId(run);
  if (!d.teacher) return trainer;
  WG_ASSIGN(auto teacher, TeacherOf(site, folder, ops, pool));
  WG_TRY(trainer->UseTeacher(std::move(teacher)));
  return trainer;
}

}  // namespace waggle
